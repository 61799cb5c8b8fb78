#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-grpcio against the echo server: python_client.py ECHO_SERVER STUBS [tls]"""
import os
import sys
import tempfile
import threading
import time

PROGRAM, STUBS = sys.argv[1:3]
TLS = sys.argv[3:] == ["tls"]  # the same over TLS
if not os.path.exists(os.path.join(STUBS, "stamp")):
    print("SKIP: no Python stubs (protobuf-compiler-grpc is not installed)")
    sys.exit(77)
try:
    import grpc
except ImportError:
    print("SKIP: python3-grpcio is not installed")
    sys.exit(77)
sys.path.insert(0, STUBS)

import echo_pb2  # noqa: E402
import echo_pb2_grpc  # noqa: E402
import health_pb2  # noqa: E402
import health_pb2_grpc  # noqa: E402
import reflection_v1_pb2  # noqa: E402
import reflection_v1_pb2_grpc  # noqa: E402
import reflection_v1alpha_pb2  # noqa: E402
import reflection_v1alpha_pb2_grpc  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402

from echo_process import echo_server, run  # noqa: E402

if TLS:
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
    import atexit
    from pki import Pki  # noqa: E402
    PKI = Pki()
    atexit.register(PKI.__exit__)
    PKI.server = PKI.broker("--dns", "localhost", "--ip", "127.0.0.1", "--ip", "::1")
    PKI.client = PKI.issue("reader", "r1")

LIMIT_S = 60
Say = echo_pb2.SayRequest


class Client:
    """A server of its own for each test, and a channel to it."""

    def __init__(self, *options, channel_options=(), ends_by_itself=False):
        self.options, self.channel_options, self.ends_by_itself = options, channel_options, ends_by_itself
        if TLS:
            self.options += tuple(PKI.server.listen_options())

    def __enter__(self):
        self.context = echo_server(PROGRAM, *self.options, ends_by_itself=self.ends_by_itself)
        self.server = self.context.__enter__()
        self.channel = self.connect()
        self.echo = echo_pb2_grpc.EchoStub(self.channel)
        return self

    def connect(self):
        if not TLS:
            return grpc.insecure_channel(self.server.address, options=self.channel_options)
        credentials = grpc.ssl_channel_credentials(*PKI.client.read())
        return grpc.secure_channel(self.server.address, credentials, options=self.channel_options)

    def __exit__(self, kind, error, trace):
        self.channel.close()
        return self.context.__exit__(kind, error, trace)

    def counters(self):
        return self.echo.GetCounters(echo_pb2.CountersRequest(), timeout=LIMIT_S)

    def until_calls_open(self, n):
        """GetCounters counts itself."""
        give_up = time.monotonic() + LIMIT_S
        while self.counters().calls_open != n + 1:
            assert time.monotonic() < give_up, f"{self.counters().calls_open - 1} calls are still open"


def fails_with(code, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()} ({error.details()}) instead of {code}"
        return error
    raise AssertionError(f"no {code}")


def unary_and_metadata():
    with Client() as c:
        reply = c.echo.Say(Say(text="grüße"), metadata=(("x-test", "seen"),), timeout=LIMIT_S)
        assert (reply.text, reply.metadata) == ("grüße", "seen")


INITIAL = {"x-echo-initial": "first", "x-echo-initial-bin": b"\x00\x01\xff"}
TRAILING = {"x-echo-trailing": "last", "x-echo-trailing-bin": b"\n\x0b" * 3}
ECHOED = tuple({**INITIAL, **TRAILING}.items())


def echoed(metadata):
    return {key: value for key, value in metadata if key.startswith("x-echo-")}


def metadata_of_a_unary_answer():
    with Client() as c:
        for status in (0, 5):
            future = c.echo.Say.future(Say(text="x", status=status, message="m"), metadata=ECHOED, timeout=LIMIT_S)
            assert future.code().value[0] == status, future.code()
            assert echoed(future.initial_metadata()) == INITIAL, future.initial_metadata()
            assert echoed(future.trailing_metadata()) == TRAILING, future.trailing_metadata()


def metadata_of_a_stream():
    with Client() as c:
        call = c.echo.Count(Say(repeat=3), metadata=ECHOED, timeout=LIMIT_S)
        assert echoed(call.initial_metadata()) == INITIAL
        assert len(list(call)) == 3
        assert echoed(call.trailing_metadata()) == TRAILING


def metadata_of_a_refusal_in_one_block():
    with Client() as c:
        error = fails_with(grpc.StatusCode.NOT_FOUND, c.echo.Say, Say(status=5, message="m"),
                           metadata=tuple(TRAILING.items()), timeout=LIMIT_S)
        assert echoed(error.initial_metadata()) == {} and echoed(error.trailing_metadata()) == TRAILING


def long_reply():
    with Client() as c:
        reply = c.echo.Say(Say(reply_bytes=3 << 20), timeout=LIMIT_S)
        assert len(reply.padding) == 3 << 20


def long_request_up_to_the_limit():
    with Client("--max-message-bytes", "100000") as c:
        assert len(c.echo.Say(Say(text="x" * 99000), timeout=LIMIT_S).text) == 99000
        error = fails_with(grpc.StatusCode.RESOURCE_EXHAUSTED, c.echo.Say, Say(text="x" * 200000), timeout=LIMIT_S)
        assert "exceeds the limit of 100000 bytes" in error.details(), error.details()
        assert c.counters().oversize_messages == 1


def status_with_utf8_message():
    with Client() as c:
        message = "kein Gerät „sda“ – 100 % weg\n"
        error = fails_with(grpc.StatusCode.NOT_FOUND, c.echo.Say, Say(status=5, message=message), timeout=LIMIT_S)
        assert error.details() == message, error.details()


def every_status_arrives():
    with Client() as c:
        for code in grpc.StatusCode:
            number = code.value[0]
            if number:
                fails_with(code, c.echo.Say, Say(status=number, message="x"), timeout=LIMIT_S)


def unknown_method_and_service():
    with Client() as c:
        for path in ("/sensebus.test.Echo/Nothing", "/no.such.Service/Say"):
            call = c.channel.unary_unary(path, Say.SerializeToString, echo_pb2.SayReply.FromString)
            error = fails_with(grpc.StatusCode.UNIMPLEMENTED, call, Say(), timeout=LIMIT_S)
            assert path in error.details(), error.details()


def compressed_request_is_refused():
    with Client() as c:
        error = fails_with(grpc.StatusCode.UNIMPLEMENTED, c.echo.Say, Say(text="x" * 10000),
                           compression=grpc.Compression.Gzip, timeout=LIMIT_S)
        assert "gzip" in error.details(), error.details()


def not_a_message():
    with Client() as c:
        call = c.channel.unary_unary("/sensebus.test.Echo/Say", lambda data: data, echo_pb2.SayReply.FromString)
        fails_with(grpc.StatusCode.INVALID_ARGUMENT, call, b"\xff\xff\xff", timeout=LIMIT_S)


def server_stream_in_order():
    with Client() as c:
        numbers = [reply.number for reply in c.echo.Count(Say(repeat=20000, reply_bytes=100), timeout=3 * LIMIT_S)]
        assert numbers == list(range(1, 20001))


def server_stream_of_long_messages():
    with Client() as c:
        total = sum(len(reply.padding) for reply in c.echo.Count(Say(repeat=50, reply_bytes=1 << 20), timeout=3 * LIMIT_S))
        assert total == 50 << 20


def server_stream_ends_with_a_status_after_its_messages():
    with Client() as c:
        seen = []
        call = c.echo.Count(Say(repeat=300, reply_bytes=10000, status=11, message="gone"), timeout=3 * LIMIT_S)
        error = fails_with(grpc.StatusCode.OUT_OF_RANGE, lambda: seen.extend(reply.number for reply in call))
        assert (len(seen), error.details()) == (300, "gone")


def client_stream():
    with Client() as c:
        reply = c.echo.Collect((Say(text="x" * 1000) for _ in range(5000)), timeout=3 * LIMIT_S)
        assert reply.text == f"5000 messages, {5000 * Say(text='x' * 1000).ByteSize()} bytes", reply.text


def chat_takes_turns():
    with Client() as c:
        said = threading.Semaphore(1)

        def requests():
            for i in range(1000):
                said.acquire()
                yield Say(text=str(i))

        for i, reply in enumerate(c.echo.Chat(requests(), timeout=3 * LIMIT_S)):
            assert reply.text == str(i)
            said.release()
        assert i == 999


def chat_at_full_speed():
    with Client() as c:
        replies = c.echo.Chat((Say(text=str(i)) for i in range(20000)), timeout=3 * LIMIT_S)
        assert [reply.text for reply in replies] == [str(i) for i in range(20000)]


def headers_come_before_the_first_message():
    with Client() as c:
        pause = threading.Event()
        call = c.echo.Chat(iter(lambda: pause.wait(LIMIT_S) and None, None), timeout=LIMIT_S)
        assert call.initial_metadata() is not None
        pause.set()
        call.cancel()


def cancel_frees_the_call():
    with Client() as c:
        call = c.echo.Count(Say(repeat=0, reply_bytes=1000), timeout=3 * LIMIT_S)
        for _ in range(100):
            next(call)
        call.cancel()
        fails_with(grpc.StatusCode.CANCELLED, list, call)
        c.until_calls_open(0)


def a_thousand_cancels_cost_no_connection():
    with Client() as c:
        sibling = c.echo.Count(Say(repeat=0, reply_bytes=10), timeout=3 * LIMIT_S)
        next(sibling)
        for _ in range(1500):
            # Cancelled before its headers left, grpc-core resets a stream that it never opened (grpc/grpc#19655): for
            # RFC 9113 that is an error of the connection.
            call = c.echo.Count(Say(repeat=0, reply_bytes=50000), timeout=3 * LIMIT_S)
            next(call)
            call.cancel()
        for _ in range(1000):
            next(sibling)
        sibling.cancel()
        c.until_calls_open(0)


def deadline_on_both_sides():
    with Client() as c:
        start = time.monotonic()
        fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, c.echo.Say, Say(sleep_ms=60000), timeout=0.3)
        assert time.monotonic() - start < LIMIT_S
        fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, list, c.echo.Count(Say(repeat=0, reply_bytes=10), timeout=0.3))
        c.until_calls_open(0)


def a_slow_reader_holds_back_only_itself():
    with Client() as c:
        slow = c.echo.Count(Say(repeat=2000, reply_bytes=10000), timeout=3 * LIMIT_S)
        next(slow)
        for i in range(200):
            assert c.echo.Say(Say(text=str(i)), timeout=LIMIT_S).text == str(i)
        assert [reply.number for reply in slow] == list(range(2, 2001))


def more_calls_than_streams_wait():
    with Client("--max-streams", "4") as c:
        futures = [c.echo.Say.future(Say(text=str(i), sleep_ms=20), timeout=LIMIT_S) for i in range(20)]
        assert [future.result().text for future in futures] == [str(i) for i in range(20)]


def unix_socket():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "echo.sock")
        with Client("--address", f"unix:{path}") as c:
            assert oct(os.stat(path).st_mode & 0o777) == "0o660"
            assert c.echo.Say(Say(text="local"), timeout=LIMIT_S).text == "local"
        assert not os.path.exists(path)


def ipv6():
    with Client("--address", "[::1]:0") as c:
        assert c.server.address.startswith("[::1]:")
        assert c.echo.Say(Say(text="six"), timeout=LIMIT_S).text == "six"


def keepalive_of_the_client_is_answered():
    options = (("grpc.keepalive_time_ms", 100), ("grpc.keepalive_timeout_ms", 1000 * LIMIT_S),
               ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0))
    with Client(channel_options=options) as c:
        assert c.echo.Say(Say(text="awake", sleep_ms=1500), timeout=LIMIT_S).text == "awake"


def keepalive_of_the_server_is_answered():
    with Client("--keepalive-ms", "100", "--keepalive-timeout-ms", str(1000 * LIMIT_S)) as c:
        assert c.echo.Say(Say(text="awake", sleep_ms=1500), timeout=LIMIT_S).text == "awake"
        assert c.counters().keepalive_timeouts == 0


def drain_ends_streams_and_refuses_more():
    with Client(ends_by_itself=True) as c:
        stream = c.echo.Count(Say(repeat=0, reply_bytes=1000), timeout=3 * LIMIT_S)
        first = next(stream)
        sleeper = c.echo.Say.future(Say(text="last", sleep_ms=600000), timeout=LIMIT_S)
        c.counters()  # the sleeper is under way
        c.echo.Drain(echo_pb2.DrainRequest(grace_ms=5000), timeout=LIMIT_S)
        numbers = [first.number]
        error = fails_with(grpc.StatusCode.UNAVAILABLE, lambda: numbers.extend(reply.number for reply in stream))
        assert "draining" in error.details(), error.details()
        assert numbers == list(range(1, len(numbers) + 1))
        fails_with(grpc.StatusCode.UNAVAILABLE, sleeper.result)


def health_check_and_watch():
    with Client(ends_by_itself=True) as c:
        stub = health_pb2_grpc.HealthStub(c.channel)
        request = health_pb2.HealthCheckRequest
        serving = health_pb2.HealthCheckResponse.SERVING
        assert stub.Check(request(), timeout=LIMIT_S).status == serving
        assert stub.Check(request(service="sensebus.test.Echo"), timeout=LIMIT_S).status == serving
        error = fails_with(grpc.StatusCode.NOT_FOUND, stub.Check, request(service="nobody"), timeout=LIMIT_S)
        assert "nobody" in error.details()
        unknown = stub.Watch(request(service="nobody"), timeout=LIMIT_S)
        assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()
        watch = stub.Watch(request(), timeout=LIMIT_S)
        assert next(watch).status == serving
        c.echo.Drain(echo_pb2.DrainRequest(grace_ms=1000), timeout=LIMIT_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        fails_with(grpc.StatusCode.UNAVAILABLE, next, watch)


SERVICES = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection", "sensebus.test.Echo"]
REFLECTIONS = ((reflection_v1_pb2, reflection_v1_pb2_grpc), (reflection_v1alpha_pb2, reflection_v1alpha_pb2_grpc))


def ask(c, messages, stubs, **question):
    stub = stubs.ServerReflectionStub(c.channel)
    request = messages.ServerReflectionRequest(host="h", **question)
    reply, = stub.ServerReflectionInfo(iter([request]), timeout=LIMIT_S)
    assert reply.valid_host == "h" and reply.original_request == request
    return reply


def file_names(reply):
    return [descriptor_pb2.FileDescriptorProto.FromString(data).name
            for data in reply.file_descriptor_response.file_descriptor_proto]


def reflection_lists_services():
    with Client() as c:
        for messages, stubs in REFLECTIONS:
            reply = ask(c, messages, stubs, list_services="")
            assert sorted(s.name for s in reply.list_services_response.service) == SERVICES


def reflection_finds_files():
    with Client() as c:
        for messages, stubs in REFLECTIONS:
            for symbol in ("sensebus.test.Echo", "sensebus.test.Echo.Say", "sensebus.test.SayRequest",
                           "sensebus.test.SayRequest.text"):
                assert file_names(ask(c, messages, stubs, file_containing_symbol=symbol)) == ["echo.proto"], symbol
            for symbol in ("grpc.health.v1.HealthCheckResponse.ServingStatus",
                           "grpc.health.v1.HealthCheckResponse.SERVING"):
                reply = ask(c, messages, stubs, file_containing_symbol=symbol)
                assert file_names(reply) == ["grpc/health/v1/health.proto"], symbol
            reply = ask(c, messages, stubs, file_by_filename="grpc/reflection/v1/reflection.proto")
            assert file_names(reply) == ["grpc/reflection/v1/reflection.proto"]


def reflection_says_what_it_does_not_know():
    with Client() as c:
        not_found = grpc.StatusCode.NOT_FOUND.value[0]
        for messages, stubs in REFLECTIONS:
            extension = messages.ExtensionRequest(containing_type="sensebus.test.SayRequest", extension_number=7)
            for question in (dict(file_by_filename="no.proto"), dict(file_containing_symbol="no.Such"),
                             dict(file_containing_extension=extension), dict(all_extension_numbers_of_type="no.Such")):
                assert ask(c, messages, stubs, **question).error_response.error_code == not_found, question
            reply = ask(c, messages, stubs, all_extension_numbers_of_type="sensebus.test.SayRequest")
            assert reply.all_extension_numbers_response.base_type_name == "sensebus.test.SayRequest"
            assert not reply.all_extension_numbers_response.extension_number
            assert ask(c, messages, stubs).error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def a_call_by_reflection_alone():
    with Client() as c:
        reply = ask(c, *REFLECTIONS[0], file_containing_symbol="sensebus.test.Echo")
        pool = descriptor_pool.DescriptorPool()
        for data in reversed(reply.file_descriptor_response.file_descriptor_proto):
            pool.AddSerializedFile(data)
        method = pool.FindServiceByName("sensebus.test.Echo").FindMethodByName("Say")
        factory = message_factory.MessageFactory(pool)
        request_class = factory.GetPrototype(method.input_type)
        reply_class = factory.GetPrototype(method.output_type)
        call = c.channel.unary_unary("/sensebus.test.Echo/Say", request_class.SerializeToString,
                                     reply_class.FromString)
        assert call(request_class(text="dynamic"), timeout=LIMIT_S).text == "dynamic"


TESTS = [
    unary_and_metadata, metadata_of_a_unary_answer, metadata_of_a_stream, metadata_of_a_refusal_in_one_block,
    long_reply, long_request_up_to_the_limit, status_with_utf8_message, every_status_arrives,
    unknown_method_and_service, compressed_request_is_refused, not_a_message, server_stream_in_order,
    server_stream_of_long_messages, server_stream_ends_with_a_status_after_its_messages, client_stream,
    chat_takes_turns, chat_at_full_speed, headers_come_before_the_first_message, cancel_frees_the_call,
    a_thousand_cancels_cost_no_connection, deadline_on_both_sides, a_slow_reader_holds_back_only_itself,
    more_calls_than_streams_wait, unix_socket, ipv6, keepalive_of_the_client_is_answered,
    keepalive_of_the_server_is_answered, drain_ends_streams_and_refuses_more, health_check_and_watch,
    reflection_lists_services, reflection_finds_files, reflection_says_what_it_does_not_know,
    a_call_by_reflection_alone,
]
if TLS:
    TESTS.remove(unix_socket)  # proves who connects by itself
sys.exit(run(TESTS))
