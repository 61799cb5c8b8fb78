#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Print events and resume behind the last one seen, also after a restart. usage: subscribe.py ADDRESS POSITION_FILE"""
import os
import sys
import time

import grpc
from sensebus.v1 import code_pb2, events_pb2, events_pb2_grpc

if len(sys.argv) != 3:
    sys.exit(__doc__)
address, path = sys.argv[1:]
position = events_pb2.Position()  # of what was handled
if os.path.exists(path):
    with open(path, "rb") as file:
        position.ParseFromString(file.read())

events = events_pb2_grpc.EventsStub(grpc.insecure_channel(address))
while True:
    request = events_pb2.SubscribeRequest(mark_interval_ms=5000)
    if position.epoch:
        request.position.CopyFrom(position)
    else:
        request.oldest.SetInParent()
    try:
        for batch in events.Subscribe(request, wait_for_ready=True):
            for member in ("opened", "gap", "synced", "mark"):  # each says how far the stream is
                if batch.HasField(member):
                    control = getattr(batch, member)
                    position.CopyFrom(control.to if member == "gap" else control.position)
                    if member == "gap":
                        print(f"missing: {control.count} events, {control.reason}", flush=True)
            for event in batch.events:
                name = code_pb2.Code.Name(event.code) if event.code in code_pb2.Code.values() else event.code
                print(event.sequence, event.origin.host, name, repr(event.summary or event.sense.text), flush=True)
                position.sequence = event.sequence
            with open(path + ".new", "wb") as file:
                file.write(position.SerializeToString())
            os.replace(path + ".new", path)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            sys.exit(f"{error.code().name}: {error.details()}")
    time.sleep(1)
