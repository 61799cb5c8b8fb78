#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Start a session of one device, register for its events, print them. usage: register.py ADDRESS HOST TARGET_NAME [LUN]"""
import queue
import sys

import grpc
from sensebus.v1 import adapter_pb2 as adapter, adapter_pb2_grpc, code_pb2, event_pb2

if len(sys.argv) not in (4, 5):
    sys.exit(__doc__)
address, host, target_name, lun = (sys.argv[1:] + ["0"])[:4]
where = adapter.DeviceAddress(host=host, target_name=target_name, bus=-1, target=-1, lun=int(lun))
requests = queue.Queue()
requests.put(adapter.AdapterRequest(version=1, id=1, start=adapter.Start(address=where)))

try:
    for reply in adapter_pb2_grpc.AdapterStub(grpc.insecure_channel(address)).Open(iter(requests.get, None)):
        if reply.HasField("result"):
            result = reply.result
            if result.error != adapter.ERRNO_OK:
                detail = adapter.EinvalDetail.Name(result.detail)
                sys.exit(f"{adapter.Errno.Name(result.error)} {detail}: {result.message}")
            if result.id == 1:
                register = adapter.RegisterEvent(session_id=result.start.session_id, mode=event_pb2.MODE_INITIATOR,
                                                 correlator=b"mine")
                requests.put(adapter.AdapterRequest(version=1, id=2, event=register))
            else:
                print("registered", flush=True)
        elif reply.HasField("event"):
            event = reply.event
            code = event.record.code
            name = code_pb2.Code.Name(code) if code in code_pb2.Code.values() else code
            print(event.correlator.decode(), name, f"0x{event.events:x}", event.record.summary, flush=True)
            if code == code_pb2.REGISTRATION_CANCELLED:
                sys.exit(f"ended: {event.record.native.name}")
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
