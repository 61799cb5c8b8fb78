# SPDX-License-Identifier: Apache-2.0
"""Ports of loopback that stay ours. A port that was free a moment ago may be somebody else's by now: tests run side by
side, and each connection of theirs takes one too."""
import socket

RESERVED = []


def reserve_port(host="127.0.0.1"):
    """A port that is ours until this process ends, though nobody listens there: whoever asks for any free port gets another
    one, and whoever is told this one may listen on it, again and again."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    RESERVED.append(holder)
    return holder.getsockname()[1]


def reserve_address():
    return f"127.0.0.1:{reserve_port()}"
