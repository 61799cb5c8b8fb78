#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Be called at the first open and the last close of disks. usage: listen.py ADDRESS [HOST]"""
import queue
import sys

import grpc
from sensebus.v1 import sdi_pb2 as sdi, sdi_pb2_grpc

NAMES = {1: "SDI_FIRSTOPEN", 2: "SDI_LASTCLOSE", 3: "SDI_LASTCLOSE_ERR"}
if len(sys.argv) not in (2, 3):
    sys.exit(__doc__)
address, host = sys.argv[1], (sys.argv[2:] or [""])[0]
requests = queue.Queue()
for event_type in NAMES:  # device_type 0: disks; -1 and the empty host: any
    where = sdi.ScsiAdr(controller=-1, bus=-1, target=-1, lun=-1, host=host)
    requests.put(sdi.ListenRequest(id=event_type, add=sdi.AddEvent(event_type=event_type, address=where)))

try:
    for reply in sdi_pb2_grpc.SdiStub(grpc.insecure_channel(address)).Listen(iter(requests.get, None)):
        if reply.HasField("call"):
            call, at = reply.call, reply.call.address
            name = NAMES.get(call.event_type, call.event_type)
            print(name, at.host, f"{at.controller}:{at.bus}:{at.target}:{at.lun}", "by", call.sender, flush=True)
            verdict = sdi.Verdict(call_id=call.call_id, verdict=sdi.SDI_RETURN_OK)
            requests.put(sdi.ListenRequest(verdict=verdict))
        elif reply.result.id == 0:  # of a verdict
            if reply.result.result == sdi.SDI_RETURN_ERR:
                print(reply.result.message, flush=True)
        elif reply.result.result == sdi.SDI_RETURN_ERR:
            sys.exit(f"refused: {reply.result.message}")
        else:
            print("listening to", NAMES[reply.result.id], flush=True)
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
