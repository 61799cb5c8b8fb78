# SPDX-License-Identifier: Apache-2.0
"""Sdi: driver events between stock clients on a real broker (semantics.md rules 26..29, 31; A13..A15, A17). What has to do
with sessions is in sdi_sessions.py."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from sdi_listener import *  # noqa: E402,F403


def test_every_matching_handler_is_called_once_in_the_order_of_addition():
    """rules 26, 29: several streams, duplicates allowed"""
    with Broker() as broker, Listener(broker) as a, Listener(broker) as b:
        order = [(a, a.add()), (b, b.add()), (a, a.add()), (b, b.add(PRIVATE + 1)), (a, a.add(any_device_type=True)),
                 (b, b.add())]
        check_answer(notify(broker, sb=b"\0\1\xff", address=adr(1, 2, 3, 4, "db-1")), OK, 5, 0)
        for listener in (a, b):
            expected = [h for who, h in order if who is listener and h != order[3][1]]
            check_equal([c.handler_id for c in listener.calls], expected, "handlers called")
        # Call ids are given out in the order of the calls, over all streams.
        called = sorted((c.call_id, c.handler_id) for c in a.calls + b.calls)
        check_equal([h for _, h in called], [h for _, h in order if h != order[3][1]], "order")
        check_equal([h for _, h in order], sorted(h for _, h in order), "handler ids count up")
        call = b.calls[0]
        check_equal((call.event_type, call.sb, call.sender), (PRIVATE, b"\0\1\xff", "plaintext"))
        check_equal(call.address, adr(1, 2, 3, 4, "db-1"))


def test_event_info_comes_back_with_every_call():
    """rule 26: the counterpart of the correlator"""
    info = bytes(range(256))
    with Broker() as broker, Listener(broker) as a:
        a.add(event_info=info)
        a.add()
        notify(broker)
        check_equal([c.event_info for c in a.calls], [info, b""])


def test_no_match_is_ok():
    """rules 29, 31"""
    with Broker() as broker, Listener(broker) as a:
        a.add(PRIVATE + 1)
        check_answer(notify(broker), OK, 0, 0)
        check_equal(a.calls, [])


def test_one_failure_makes_err_and_the_rest_is_called_all_the_same():
    """rule 29, A15"""
    with Broker() as broker, Listener(broker, lambda call: ERR) as bad, Listener(broker) as good:
        bad.add()
        good.add()
        bad.add()
        good.add()
        check_answer(notify(broker), ERR, 4, 2)
        check_equal((len(bad.calls), len(good.calls)), (2, 2))
        check_equal(broker.counters()["sensebus_sdi_calls_failed_total"], 2)


def test_a_late_verdict_makes_err_at_the_deadline_and_is_told_so():
    """rule 29"""
    with Broker() as broker, Listener(broker, lambda call: None) as slow, Listener(broker) as good:
        slow.add()
        good.add()
        start = time.monotonic()
        check_answer(notify(broker, deadline_ms=300), ERR, 2, 1)
        check(time.monotonic() - start >= 0.29, "answered before the deadline")
        slow.refused("too late", verdict=sdi_pb2.Verdict(call_id=slow.calls[0].call_id, verdict=OK))
        counters = broker.counters()
        check_equal(counters["sensebus_sdi_calls_late_total"], 1)
        check_equal(counters["sensebus_sdi_verdicts_late_total"], 1)


def test_the_deadline_of_the_call_counts_too():
    """rule 29: an answer instead of DEADLINE_EXCEEDED"""
    with Broker() as broker, Listener(broker, lambda call: None) as slow:
        slow.add()
        check_answer(notify(broker, timeout=3, deadline_ms=600000), ERR, 1, 1)


def test_a_stream_that_ends_while_it_is_called_makes_err():
    """rule 29: lost listener"""
    with Broker() as broker:
        for ending in (Listener.cancel, Listener.close):
            with Listener(broker, lambda call: None) as a:
                a.add()
                future = sdi_pb2_grpc.SdiStub(broker.channel()).NotifyEvent.future(
                    sdi_pb2.NotifyEventRequest(event_type=PRIVATE, deadline_ms=600000), timeout=10 * LIMIT_S)
                wait_until(lambda: a.calls, "the call")
                ending(a)
                check_answer(future.result(LIMIT_S), ERR, 1, 1)
        check_equal(broker.counters()["sensebus_sdi_calls_lost_total"], 2)
        check_equal(broker.counters()["sensebus_sdi_handlers"], 0)


def test_handlers_end_with_their_stream():
    """rule 28"""
    with Broker() as broker, Listener(broker) as stays:
        stays.add()
        with Listener(broker) as goes:
            goes.add()
            check_answer(notify(broker), OK, 2, 0)
        wait_until(lambda: broker.counters()["sensebus_sdi_handlers"] == 1, "the handler's end")
        check_answer(notify(broker), OK, 1, 0)


def test_removal_is_by_id_from_any_stream_of_the_principal():
    """rule 28"""
    with Broker() as broker, Listener(broker) as a, Listener(broker) as b:
        first, second = a.add(), a.add()
        check_equal(b.ask(remove=sdi_pb2.RemoveEvent(handler_id=first)).result, OK)
        a.refused("no handler", remove=sdi_pb2.RemoveEvent(handler_id=first))
        a.refused("no handler 0", remove=sdi_pb2.RemoveEvent())
        notify(broker)
        check_equal([c.handler_id for c in a.calls], [second])


def test_removal_by_another_principal_is_err():
    """rule 28: unknown and foreign are answered alike"""
    folder = tempfile.mkdtemp(prefix="sensebus-unix.")
    path = f"unix:{folder}/broker.sock"
    config = 'principals: [{identity: "unix:uid=*", name: other-driver, roles: [kernel]}]\n'
    try:
        with Broker("--listen", path, config=config) as broker, Listener(broker) as a:
            channel = grpc.insecure_channel(path, options=[("grpc.use_local_subchannel_pool", 1)])
            with Listener(broker, channel=channel) as other:
                handler = a.add()
                other.refused(f"other-driver has no handler {handler}", remove=sdi_pb2.RemoveEvent(handler_id=handler))
                other.refused("other-driver has no handler 99", remove=sdi_pb2.RemoveEvent(handler_id=99))
                stub = sdi_pb2_grpc.SdiStub(channel)
                check_answer(stub.NotifyEvent(sdi_pb2.NotifyEventRequest(event_type=PRIVATE), timeout=LIMIT_S), OK, 1, 0)
                check_equal(a.calls[0].sender, "other-driver")
                check_equal(a.ask(remove=sdi_pb2.RemoveEvent(handler_id=handler)).result, OK)
            channel.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_patterns():
    """rule 27, A13, A14"""
    cases = [
        # pattern, matches
        (dict(), True),
        (dict(address=adr()), True),
        (dict(address=adr(1, 2, 3, 4, "db-1"), inquiry="LIO-ORG disk"), True),
        (dict(address=adr(controller=0)), False),
        (dict(address=adr(bus=0)), False),
        (dict(address=adr(target=0)), False),
        (dict(address=adr(lun=0)), False),
        (dict(address=adr(host="db-2")), False),
        (dict(inquiry="LIO-ORG "), True),
        (dict(inquiry="LIO-ORG d"), True),
        (dict(inquiry="lio"), False),
        (dict(inquiry="disk"), False),
        (dict(device_type=5), False),
        (dict(device_type=5, any_device_type=True), True),
    ]
    with Broker() as broker, Listener(broker) as a:
        handlers = [(a.add(**pattern), matches, pattern) for pattern, matches in cases]
        notify(broker, address=adr(1, 2, 3, 4, "db-1"), inquiry="LIO-ORG disk", device_type=0)
        called = {c.handler_id for c in a.calls}
        for handler, matches, pattern in handlers:
            check_equal(handler in called, matches, f"{pattern}")


def test_wrong_requests_are_answered_on_the_stream_and_it_goes_on():
    """rule 26"""
    with Broker() as broker, Listener(broker) as a:
        a.refused("AddEvent.inquiry", "24", add=sdi_pb2.AddEvent(inquiry="x" * 25))
        a.refused("AddEvent.event_info", "256", add=sdi_pb2.AddEvent(event_info=b"x" * 257))
        a.refused("AddEvent.address.target", "-2", add=sdi_pb2.AddEvent(address=adr(target=-2)))
        a.refused("operation: is missing")
        a.refused("no call 77", verdict=sdi_pb2.Verdict(call_id=77, verdict=OK))
        check_equal(a.ask(add=sdi_pb2.AddEvent()).result, OK)


def raw_listen(broker, *messages):
    """Bytes as they are on a Listen stream; the replies."""
    done = threading.Event()

    def requests():
        yield from messages
        done.wait(LIMIT_S)

    listen = broker.channel().stream_stream("/sensebus.v1.Sdi/Listen",
                                            response_deserializer=sdi_pb2.ListenReply.FromString)
    call = listen(requests())
    try:
        return [next(call).result for _ in messages]
    finally:
        done.set()
        call.cancel()


def test_bytes_that_do_not_decode_are_answered_with_their_id():
    """rule 26: unknown fields, text that is not UTF-8, cut messages"""
    with Broker() as broker:
        unknown, text, cut, good = raw_listen(broker, b"\x08\x05\x12\x03\xa8\x01\x01", b"\x08\x06\x12\x03\x22\x01\xff",
                                              b"\x08\x07\x12\x09\x01", b"\x08\x08\x12\x00")
        check_equal((unknown.id, unknown.result), (5, ERR))
        check("unknown field 21" in unknown.message, unknown.message)
        check_equal((text.id, text.result), (6, ERR))
        check("AddEvent.inquiry" in text.message or "inquiry" in text.message, text.message)
        check_equal((cut.id, cut.result), (7, ERR))
        check_equal((good.id, good.result), (8, OK))


def test_events_of_the_broker_are_its_own():
    """A17"""
    with Broker() as broker, Listener(broker) as a:
        for event_type in (FIRSTOPEN, LASTCLOSE, LASTCLOSE_ERR):
            a.add(event_type)
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, "NotifyEventRequest.event_type", "broker alone"):
                notify(broker, event_type)
        for event_type in (0, 4, 0x100, -1, 2**31 - 1, -2**31):
            a.add(event_type)
            check_answer(notify(broker, event_type), OK, 1, 0)
        check_equal(len(a.calls), 6)


def test_wrong_notifications_are_refused_by_name():
    with Broker() as broker:
        for member, text in ((dict(inquiry="x" * 25), "inquiry"), (dict(sb=b"x" * 4097), "sb"),
                             (dict(deadline_ms=600001), "deadline_ms"), (dict(address=adr(lun=-2)), "address.lun")):
            with expect_status(grpc.StatusCode.INVALID_ARGUMENT, f"NotifyEventRequest.{text}"):
                notify(broker, **member)


def test_a_flood_of_handlers_ends_at_the_principals_bound():
    with Broker() as broker, Listener(broker) as a, Listener(broker) as b:
        for _ in range(1024):
            a.send(add=sdi_pb2.AddEvent(event_type=PRIVATE + 1))
        b.ask(remove=sdi_pb2.RemoveEvent())  # served meanwhile
        wait_until(lambda: len(a.results) == 1024, "1,024 answers")
        check(all(r.result == OK for r in a.results.values()))
        b.refused("RESOURCE_EXHAUSTED", "1024", "handlers", add=sdi_pb2.AddEvent())
        check_equal(b.ask(remove=sdi_pb2.RemoveEvent(handler_id=a.results[1].handler_id)).result, OK)
        b.add()
        check_answer(notify(broker), OK, 1, 0)
        check(broker.counters()["sensebus_sdi_refused_total"] >= 1)


def test_a_flood_of_notifications_ends_at_the_principals_bound():
    with Broker() as broker, Listener(broker, lambda call: None) as silent:
        silent.add()
        stub = sdi_pb2_grpc.SdiStub(broker.channel())
        request = sdi_pb2.NotifyEventRequest(event_type=PRIVATE, deadline_ms=600000)
        waiting = [stub.NotifyEvent.future(request, timeout=10 * LIMIT_S) for _ in range(64)]
        wait_until(lambda: len(silent.calls) == 64, "64 calls")
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "64", "notifications"):
            notify(broker)
        silent.send(verdict=sdi_pb2.Verdict(call_id=silent.calls[0].call_id, verdict=OK))
        wait_until(lambda: any(f.done() for f in waiting), "one answer")
        silent.verdict = lambda call: OK
        check_answer(notify(broker), OK, 1, 0)
        silent.cancel()
        check_equal(sorted(f.result(LIMIT_S).result for f in waiting), [OK] + 63 * [ERR])


def test_a_flood_of_streams_ends_at_the_principals_bound():
    with Broker() as broker:
        channel = broker.channel()
        listeners = [Listener(broker, channel=channel) for _ in range(256)]
        listeners[-1].add()
        wait_until(lambda: all(not l.ended.is_set() for l in listeners), "256 streams")
        with Listener(broker, channel=channel) as one_more:
            check(one_more.ended.wait(LIMIT_S), "the stream goes on")
            check_equal(one_more.error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            check("RESOURCE_EXHAUSTED: 256 streams" in one_more.error.details(), one_more.error.details())
        listeners[0].cancel()
        with contextlib.ExitStack() as stack:
            def another():
                listener = stack.enter_context(Listener(broker, channel=channel))
                listener.send(add=sdi_pb2.AddEvent())
                wait_until(lambda: listener.results or listener.ended.is_set(), "an answer")
                return bool(listener.results)
            wait_until(another, "room for one more")
        for listener in listeners[1:]:
            listener.cancel()


def test_a_stream_that_gives_no_verdicts_loses_calls_and_holds_up_nobody():
    """rule 29: full queue"""
    with Broker() as broker, Listener(broker, lambda call: None) as silent, Listener(broker) as good:
        good.add()
        for _ in range(513):
            silent.send(add=sdi_pb2.AddEvent(event_type=PRIVATE))
        wait_until(lambda: len(silent.results) == 513, "513 handlers")
        check_answer(notify(broker, deadline_ms=100), ERR, 514, 513)  # late
        check_answer(notify(broker, deadline_ms=100), ERR, 514, 513)  # 511 late, 2 lost
        start = time.monotonic()
        check_answer(notify(broker, deadline_ms=30000), ERR, 514, 513)  # all lost: at once
        check(time.monotonic() - start < 25, "the notifier waited for the deadline")
        check_equal(len(good.calls), 3)
        check_equal(broker.counters()["sensebus_sdi_calls_late_total"], 1024)
        check_equal(broker.counters()["sensebus_sdi_calls_lost_total"], 515)


def test_a_listener_that_reads_nothing_loses_calls_and_the_broker_goes_on():
    """rule 29: what waits for a stream is bounded"""
    with Broker() as broker, Listener(broker) as good:
        stop = threading.Event()

        def requests():
            for i in range(20):
                yield sdi_pb2.ListenRequest(id=i + 1, add=sdi_pb2.AddEvent(event_type=PRIVATE))
            stop.wait(10 * LIMIT_S)

        deaf = sdi_pb2_grpc.SdiStub(broker.channel()).Listen(requests())  # never read
        good.add(PRIVATE + 1)
        wait_until(lambda: broker.counters()["sensebus_sdi_handlers"] == 21, "the handlers")
        for _ in range(60):  # 20 calls of 4 KiB each: at most 1,024 of them wait
            check_equal(notify(broker, sb=b"x" * 4096, deadline_ms=1).result, ERR)
        check_answer(notify(broker, PRIVATE + 1), OK, 1, 0)
        counters = broker.counters()
        check(counters["sensebus_sdi_calls_lost_total"] > 0, "nothing was lost")
        check_equal(counters["sensebus_sdi_calls_lost_total"] + counters["sensebus_sdi_calls_late_total"], 1200)
        deaf.cancel()
        stop.set()
        wait_until(lambda: broker.counters()["sensebus_sdi_handlers"] == 1, "the end of the deaf stream")


def test_a_notifier_that_goes_leaves_the_handlers_alone():
    with Broker() as broker, Listener(broker, lambda call: None) as a:
        a.add()
        future = sdi_pb2_grpc.SdiStub(broker.channel()).NotifyEvent.future(
            sdi_pb2.NotifyEventRequest(event_type=PRIVATE, deadline_ms=600000))
        wait_until(lambda: a.calls, "the call")
        future.cancel()
        result = a.ask(verdict=sdi_pb2.Verdict(call_id=a.calls[0].call_id, verdict=OK))
        check_equal(result.result, OK, result.message)
        a.verdict = lambda call: OK
        check_answer(notify(broker), OK, 1, 0)


def test_role_kernel_is_needed():
    """rule 1: the originals' callers are drivers"""
    with Broker(plaintext_roles="reader,operator,dev-config") as broker:
        with Listener(broker) as a:
            check(a.ended.wait(LIMIT_S), "the stream goes on")
            check_equal(a.error.code(), grpc.StatusCode.PERMISSION_DENIED)
        with expect_status(grpc.StatusCode.PERMISSION_DENIED, "kernel"):
            notify(broker)
        with expect_status(grpc.StatusCode.PERMISSION_DENIED, "kernel"):
            xaen(broker, 1)


def test_the_broker_stops_with_handlers_and_notifiers_open():
    with Broker() as broker:
        a = Listener(broker, lambda call: None)
        a.add()
        future = sdi_pb2_grpc.SdiStub(broker.channel()).NotifyEvent.future(
            sdi_pb2.NotifyEventRequest(event_type=PRIVATE, deadline_ms=600000))
        wait_until(lambda: a.calls, "the call")
        check_equal(broker.stop(), 0)
        check(a.ended.wait(LIMIT_S), "the stream goes on")
        check_equal(a.error.code(), grpc.StatusCode.UNAVAILABLE)
        check(future.exception(LIMIT_S) is not None or future.result().result == ERR, "the notifier heard nothing")


def test_health_and_reflection_name_the_service():
    with Broker() as broker:
        check_equal(broker.health("sensebus.v1.Sdi"), 1)


if __name__ == "__main__":
    run_tests(globals())
