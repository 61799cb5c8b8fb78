#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the store corpus, with the broker of $SENSEBUS_BUILD. The log holds the name of the host:

    unshare --user --map-root-user --uts sh -c 'hostname node-7 && make_store_corpus.py'
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from sensebus_testlib import *  # noqa: E402,F403


def write(name, data):
    directory = os.path.join(HERE, "corpus", "store")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)


def main():
    with Broker() as broker:
        with FakeAgent(broker) as agent:
            agent.publish_range(1, 3)
            agent.wait_acked(3)
            agent.detach()
        broker.events().Acknowledge(
            events_pb2.AcknowledgeRequest(cursor="reader", position=broker.info().newest), timeout=LIMIT_S)
        broker.stop()
        with open(os.path.join(broker.data, "data.mdb"), "rb") as file:
            log = file.read()
    write("log", log)
    write("cut", log[:8192])
    write("text", b"not a store")


if __name__ == "__main__":
    main()
