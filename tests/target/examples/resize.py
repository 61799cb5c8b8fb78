#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does an initiator hear that a disk has grown? Orders to sensebus-target by gRPC, and what it really sent.

  protoc --proto_path=/usr/share/sensebus-target/proto --python_out=. --grpc_python_out=. \\
    --plugin=protoc-gen-grpc_python=$(which grpc_python_plugin) sensebus/target/v1/target.proto
  sensebus-target --grpc 127.0.0.1:3261 &
  (log your initiator in)
  PYTHONPATH=. python3 resize.py 127.0.0.1:3261

Exit status 0: it was told within 10 s; 1: it was not, or something else went wrong."""
import sys

import grpc
from sensebus.target.v1 import target_pb2 as t
from sensebus.target.v1 import target_pb2_grpc

LUN, BLOCKS, LIMIT_S = 0, 262144, 10
CAPACITY_HAS_CHANGED = (6, 0x2A, 0x09)


def main(address):
    target = target_pb2_grpc.TargetStub(grpc.insecure_channel(address))
    watch = target.Watch(t.WatchRequest(), timeout=3 * LIMIT_S)
    next(watch)  # the state: from here on nothing is missed
    target.Run(t.Order(expect=t.Expect(sessions=1, within_ms=LIMIT_S * 1000)))
    target.Run(t.Order(expect=t.Expect(pending=0, within_ms=LIMIT_S * 1000)))  # it has heard what came before
    target.Run(t.Order(resize=t.Resize(lun=LUN, blocks=BLOCKS)))
    for happening in watch:
        sense = happening.sense.sense  # empty when it is something else
        if len(sense) >= 14 and (sense[2] & 15, sense[12], sense[13]) == CAPACITY_HAS_CHANGED:
            print(f"{happening.session.initiator} was told that unit {happening.sense.lun} has {BLOCKS} blocks")
            return 0
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
