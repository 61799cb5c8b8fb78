#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every event that event_scan accepts decodes with stock Python, UTF-8 and all, and has the same JSON there."""
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    from google.protobuf import json_format
except ImportError:
    print("skipped: python3-protobuf is not installed")
    sys.exit(77)

SOURCE = os.environ.get("SENSEBUS_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")


def load_event(directory):
    files = ["sensebus/v1/code.proto", "sensebus/v1/event.proto"]
    subprocess.run(["protoc", "--proto_path", os.path.join(SOURCE, "proto"), "--python_out", directory, *files],
                   check=True)
    sys.path.insert(0, directory)
    from sensebus.v1 import event_pb2
    return event_pb2.Event


def pieces(data):
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4:at + 4 + length]
        at += 4 + length


def main():
    with tempfile.TemporaryDirectory() as directory:
        event_class = load_event(directory)
        read = pieces(subprocess.run([sys.argv[1]], check=True, stdout=subprocess.PIPE).stdout)
        count = 0
        for event_bytes, text in zip(read, read):
            event = event_class.FromString(event_bytes)
            ours, theirs = json.loads(text), json_format.MessageToDict(event)
            assert ours == theirs, f"event {count}:\n  ours   {ours}\n  theirs {theirs}"
            count += 1
    assert count > 300, f"only {count} events"
    print(f"{count} events")


if __name__ == "__main__":
    main()
