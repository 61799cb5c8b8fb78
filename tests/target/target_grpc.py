#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sensebus-target's control service with a stock gRPC client: orders, what is told of them, errors by name, bounds, and
clients that mean no good."""
import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading

from target_peers import Initiator
from target_program import PATH, Target

from sensebus_testlib import (LIMIT_S, check, check_equal, expect_status, grpc, health_pb2, health_pb2_grpc, run_tests,
                              wait_until)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import raw_h2

import reflection_pb2
import reflection_pb2_grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from sensebus.target.v1 import target_pb2 as t
from sensebus.target.v1 import target_pb2_grpc

LOOPBACK = "127.0.0.1:0"
SERVICE = "sensebus.target.v1.Target"
MAX_ORDERS, MAX_WATCHES = 64, 16
Code = grpc.StatusCode


def run(stub, **order):
    return stub.Run(t.Order(**order), timeout=LIMIT_S)


class Watch:
    """What the target tells; read in the background. Begun when it is made."""

    def __init__(self, stub):
        self.call = stub.Watch(t.WatchRequest())
        self.state = next(self.call).watching
        self.told, self.status = [], None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for happening in self.call:
                self.told.append(happening)
        except grpc.RpcError:
            pass
        self.status = self.call.code()

    def wait(self, n):
        """The first n happenings, as (what, message)."""
        wait_until(lambda: len(self.told) >= n, f"{n} happenings; there are {self.told}")
        return [(h.WhichOneof("what"), getattr(h, h.WhichOneof("what"))) for h in self.told[:n]]


def test_health_and_reflection():
    with Target(grpc_at=LOOPBACK) as target:
        target.stub()
        channel = target.channels[0]
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            check_equal(health.Check(health_pb2.HealthCheckRequest(service=name), timeout=LIMIT_S).status,
                        health_pb2.HealthCheckResponse.SERVING, name)
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)]
        listed, found = reflection.ServerReflectionInfo(iter(requests), timeout=LIMIT_S)
        check(SERVICE in {s.name for s in listed.list_services_response.service}, str(listed))
        pool = descriptor_pool.DescriptorPool()
        for file in found.file_descriptor_response.file_descriptor_proto:
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
        methods = {method.name for method in pool.FindServiceByName(SERVICE).methods}
        check_equal(methods, {"Run", "GetState", "Watch"})


def test_what_is_ordered_is_sent_and_told():
    with Target(grpc_at=LOOPBACK, units=2) as target:
        stub = target.stub()
        watch = Watch(stub)
        check_equal((watch.state.target_name, watch.state.portal, len(watch.state.units), len(watch.state.sessions)),
                    (target.target_name, target.portal, 2, 0), "the state when the watch began")
        with Initiator(target) as one:
            check_equal(one.test_ready(), (2, (0x29, 0)))
            run(stub, resize=t.Resize(lun=0, blocks=4096))
            check_equal(one.test_ready(), (2, (0x2A, 9)))
            raw = bytes.fromhex("71000b00000000000000000044")
            check_equal(run(stub, sense=t.Sense(lun=0, raw=raw)).sense, raw)
            one.test_ready()
            done = run(stub, raise_code=t.RaiseCode(code="LUN_RESET", lun=0))
            check_equal((done.sense[2], done.sense[12], done.sense[13]), (6, 0x29, 3), done.text)
            one.test_ready()
            done = run(stub, async_message=t.AsyncMessage(event=248, lun=1, raw=b"\1\2", parameters=[1, 2, 3]))
            check_equal(done.sessions, 1)
            state = stub.GetState(t.GetStateRequest(), timeout=LIMIT_S)
            check_equal(state.units[0].blocks, 4096)
            session, = state.sessions
            check_equal((session.initiator, session.isid, session.pending), (one.name, bytes([0x80, 0, 0, 0, 0, 1]), 1),
                        "unit 1 has power on to tell")
            run(stub, drop=t.Drop(how=t.DROP_HOW_FIN))
            check(one.is_closed())
        told = watch.wait(7)
        check_equal([what for what, _ in told], ["began"] + 4 * ["sense"] + ["async_message", "ended"])
        check_equal([(m.lun, m.opcode, m.sense[2], m.sense[12], m.sense[13]) for _, m in told[1:3]],
                    [(0, 0, 6, 0x29, 0), (0, 0, 6, 0x2A, 9)])
        check_equal([m.sense for _, m in told[3:5]], [raw, done_sense(0x29, 3)])
        message = told[5][1]
        check_equal((message.event, message.lun, message.raw, list(message.parameters)), (248, 1, b"\1\2", [1, 2, 3]))
        check_equal(told[6][1].why, "dropped")
        check_equal({h.session.tsih for h in watch.told}, {session.tsih})
        check_equal(target.stop(), 0, "exit status")
        watch.thread.join(LIMIT_S)
        check_equal(watch.status, Code.OK, "a watch ends well when the target does")


def done_sense(asc, ascq):
    return bytes([0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0])


def test_errors_have_names():
    with Target(grpc_at=LOOPBACK) as target:
        stub = target.stub()
        for status, text, order in ((Code.INVALID_ARGUMENT, "nothing is ordered", {}),
                                    (Code.INVALID_ARGUMENT, "Order.resize.blocks", {"resize": t.Resize(lun=0)}),
                                    (Code.INVALID_ARGUMENT, "Order.line: \"bogus\"", {"line": "bogus now"}),
                                    (Code.INVALID_ARGUMENT, "no sense data", {"raise_code": t.RaiseCode(code="LINK_UP")}),
                                    (Code.NOT_FOUND, "no such unit", {"remove": t.RemoveUnit(lun=7)}),
                                    (Code.NOT_FOUND, "event code", {"raise_code": t.RaiseCode(code="NO_SUCH")}),
                                    (Code.ALREADY_EXISTS, "there already", {"add": t.AddUnit(lun=0)}),
                                    (Code.FAILED_PRECONDITION, "no session", {"ping": t.Ping()}),
                                    (Code.FAILED_PRECONDITION, "no session", {"sense": t.Sense(raw=b"")}),
                                    (Code.FAILED_PRECONDITION, "registered", {"preempt": t.Preempt()}),
                                    (Code.DEADLINE_EXCEEDED, "expected 1 sessions, there are 0",
                                     {"expect": t.Expect(sessions=1, within_ms=20)})):
            with expect_status(status, text):
                run(stub, **order)
        with Initiator(target) as one:
            one.test_ready()
            for _ in range(32):
                run(stub, sense=t.Sense(raw=b"\x70"))
            with expect_status(Code.RESOURCE_EXHAUSTED, "too much sense"):
                run(stub, sense=t.Sense(raw=b"\x70"))
        check("unit 0 blocks=131072x512" in run(stub, line="state").text)


def call_with(target, method, payload):
    """A call whose request is these bytes, whatever they are."""
    target.stub()
    return target.channels[-1].unary_unary(f"/{SERVICE}/{method}")(payload, timeout=LIMIT_S)


def test_requests_that_are_none():
    with Target(grpc_at=LOOPBACK) as target:
        stub = target.stub()
        run(stub, expect=t.Expect(sessions=0))
        for method, payload, text in (("Run", b"\xff" * 9, "Order"), ("Run", b"\xba\x3e\x00", "unknown field"),
                                      ("Run", b"\x0a\x02\xff\xfe", "UTF-8"), ("Run", b"\x3a\x02\x10\x63", "unknown value 99"),
                                      ("GetState", b"\x08\x01", "unknown field"), ("Watch", b"\x08\x01", "unknown field")):
            with expect_status(Code.INVALID_ARGUMENT, text):
                call_with(target, method, payload)
        with expect_status(Code.RESOURCE_EXHAUSTED, "65536"):
            run(stub, line="x" * (1 << 17))
        with expect_status(Code.UNIMPLEMENTED, "Target/Fly"):
            call_with(target, "Fly", b"")
        host, port = target.grpc_address().rsplit(":", 1)
        for data in (b"GET / HTTP/1.0\r\n\r\n", b"\0" * 100, raw_h2.PREFACE + b"\xff" * 64):
            with socket.create_connection((host, int(port)), timeout=LIMIT_S) as bad:
                bad.sendall(data)
                with contextlib.suppress(ConnectionError):
                    while bad.recv(65536):
                        pass
        run(stub, expect=t.Expect(sessions=0))


def test_who_gives_up_leaves_nothing_behind():
    with Target(grpc_at=LOOPBACK) as target:
        stub = target.stub()
        calls = []

        def refused():
            try:
                run(stub, expect=t.Expect(sessions=0))
                return False
            except grpc.RpcError as error:
                check_equal((error.code(), error.details()),
                            (Code.RESOURCE_EXHAUSTED, f"{MAX_ORDERS} orders are under way already"))
                return True

        def filled():
            calls.append(stub.Run.future(t.Order(expect=t.Expect(sessions=1, within_ms=600000))))
            return refused()
        for _ in range(3):  # more than may be under way at a time
            check(any(filled() for _ in range(10 * MAX_ORDERS)), "orders under way are bounded")
            target.tell("expect", "sessions", 0)
            while calls:
                calls.pop().cancel()
            wait_until(lambda: not refused(), "room for orders again")
        watches = [Watch(stub) for _ in range(MAX_WATCHES)]
        with expect_status(Code.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} watch already"):
            next(stub.Watch(t.WatchRequest(), timeout=LIMIT_S))
        for watch in watches:
            watch.call.cancel()

        def watched():
            with contextlib.suppress(grpc.RpcError):
                call = stub.Watch(t.WatchRequest(), timeout=LIMIT_S)
                next(call)
                call.cancel()
                return True
            return False
        wait_until(watched, "room for a watch again")


def test_who_does_not_read_harms_nobody():
    with Target("--blocks", "64", grpc_at=LOOPBACK) as target, contextlib.ExitStack() as stack:
        stub = target.stub()
        slow = stack.enter_context(raw_h2.Connection(target.grpc_address()))
        stream = slow.open(f"/{SERVICE}/Watch", raw_h2.message(b""))
        slow.until(raw_h2.DATA, stream)
        initiators = [stack.enter_context(Initiator(target, isid=i)) for i in range(60)]
        watch = Watch(stub)
        n = 0
        while n * 330 < 3 << 20:  # more than may wait for one
            n += run(stub, async_message=t.AsyncMessage(event=255, raw=b"x" * 252)).sessions
            wait_until(lambda: len(watch.told) > n - 1200, "who reads does not stay far behind")
            if n % 1200 == 0:  # they take what they are sent
                for initiator in initiators:
                    for _ in range(20):
                        initiator.receive()
        check_equal(len(watch.wait(n)), n, "who reads is told everything")
        slow.send(*(raw_h2.frame(raw_h2.WINDOW_UPDATE, 0, number, struct.pack(">I", 1 << 30)) for number in (0, stream)))
        taken = 0
        while (frame := slow.read()).kind != raw_h2.HEADERS or not frame.flags & raw_h2.END_STREAM:
            taken += len(frame.payload) if frame.kind == raw_h2.DATA else 0
        check(b"\x018" in frame.payload, f"RESOURCE_EXHAUSTED in {frame.payload}")
        check(2 << 20 < taken + 65536 < 3 << 20, f"{taken} bytes were kept for it")
        check_equal(len(initiators), len(stub.GetState(t.GetStateRequest(), timeout=LIMIT_S).sessions), "sessions")


def test_where_it_listens():
    with Target(grpc_at=LOOPBACK) as target:
        path = os.path.join(target.directory, "grpc")
        with Target(grpc_at=f"unix:{path}") as other:
            other.stub().GetState(t.GetStateRequest(), timeout=LIMIT_S)
            check_equal(os.stat(path).st_mode & 0o007, 0, "others may not")
        for options, text in ((("--grpc", "0.0.0.0:0"), "loopback"), (("--grpc", "nonsense"), "--grpc"),
                              (("--grpc", target.grpc_address()), "address already in use")):
            result = subprocess.run([PATH, "--listen", "127.0.0.1:0", *options], capture_output=True, text=True, check=False,
                                    timeout=LIMIT_S)
            check(result.returncode == 2 and text in result.stderr, f"{options}: {result.returncode} {result.stderr}")
        with Target("--insecure", grpc_at="0.0.0.0:0") as other:
            port = other.grpc_address().rsplit(":", 1)[1]
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                target_pb2_grpc.TargetStub(channel).GetState(t.GetStateRequest(), timeout=LIMIT_S)


if __name__ == "__main__":
    run_tests(globals())
