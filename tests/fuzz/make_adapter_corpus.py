#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the adapter corpus: short lives of sessions. Run it when the contract grows: make_adapter_corpus.py"""
import struct
import tempfile

from make_corpus import load, write

REQUEST, RESULT, RECORD, DATA, CLOSE, BLOCK, TICK, AGENT_GONE = range(8)


def step(kind, message=b"", who=0):
    return struct.pack("<BH", kind | who << 6, len(message)) + message


class Life:
    def __init__(self, types):
        self.types, self.bytes, self.n_requests, self.n_operations = types, b"", 0, 0

    def ask(self, who=0, forwarded=True, **operation):
        self.n_requests += 1
        self.n_operations += forwarded
        request = self.types["AdapterRequest"](version=1, id=self.n_requests, **operation)
        self.bytes += step(REQUEST, request.SerializeToString(), who)

    def answer(self, **value):
        result = self.types["OperationResult"](id=self.n_operations, **value)
        self.bytes += step(RESULT, result.SerializeToString())

    def address(self, **more):
        return self.types["DeviceAddress"](host="h", adapter="a", target=1, **more)

    def start(self, **more):
        self.ask(start=self.types["Start"](address=self.address(), **more))
        self.answer(open=self.types["OpenResult"](controller=1))

    def record(self, code, **more):
        event = self.types["Event"](code=code, scope=1, aix_bits=4, **more)
        event.origin.MergeFrom(self.types["Origin"](host="h", agent_epoch=1, source_sequence=1))
        event.address.MergeFrom(self.types["Address"](adapter="a", target=1))
        self.bytes += step(RECORD, event.SerializeToString())


def seeds(types):
    life = Life(types)
    life.start()
    life.ask(event=types["RegisterEvent"](session_id="s1", mode=1, correlator=b"\0c"))
    life.answer()
    life.record(203)
    life.ask(forwarded=False, tm_event=types["TmEvent"](session_id="s1"))
    life.ask(forwarded=False, stop=types["Stop"](session_id="s1"))
    yield "registered", life.bytes

    life = Life(types)
    life.start(shared=True)
    life.ask(event=types["RegisterEvent"](session_id="s1", mode=1))
    life.answer()
    life.bytes += step(BLOCK | 0x20)
    for _ in range(6):
        life.record(203)
    life.ask(reset=types["Reset"](session_id="s1", lun_reset=True))
    life.answer(after_source_sequence=7)
    life.record(203)
    life.record(402)
    life.bytes += step(BLOCK)
    yield "blocked", life.bytes

    life = Life(types)
    life.ask(start_target=types["StartTarget"](address=life.address(target_name="iqn.i"), buffer_bytes=16, n_buffers=16,
                                               correlator=b"t"))
    life.answer(open=types["OpenResult"](address=life.address(target_name="iqn.i")))
    life.bytes += step(DATA, types["TargetReceived"](session_id="s1", generation=1, data=b"x").SerializeToString())
    life.ask(forwarded=False, release_buffers=types["ReleaseBuffers"](session_id="s1", n_buffers=1))
    life.bytes += step(CLOSE)
    yield "target", life.bytes

    life = Life(types)
    life.start()
    life.ask(halt=types["Halt"](session_id="s1"))
    life.ask(test_unit_ready=types["TestUnitReady"](session_id="s1", resume=True))
    life.ask(forwarded=False, wait_pri=types["WaitPri"](session_ids=["s1"], timeout_ms=-1))
    life.ask(ioc_info=types["IocInfo"](host="h"))
    life.bytes += step(TICK) + step(AGENT_GONE)
    yield "halted", life.bytes


def main():
    with tempfile.TemporaryDirectory() as directory:
        for name, data in seeds(load(directory)):
            write("adapter", name, data)


if __name__ == "__main__":
    main()
