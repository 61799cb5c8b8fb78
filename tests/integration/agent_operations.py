#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent and a broker that does what the test says: operations in odd orders, of odd content, cut and in floods.

Each operation is answered once, whatever it says; what the broker may not say ends the stream; the agent lives."""
import concurrent.futures
import itertools

from agent_program import *

from scripted_target import ScriptedTarget

A = adapter_pb2
ODD = ["", "\x1b[2J\n", "s" * 64, "s" * 65, "é" * 40, "x" * 30000, "%s%n%d"]


class FakeBroker(agents_pb2_grpc.AgentsServicer):
    """Takes one agent, keeps what it says, and says what the test wants."""

    def __init__(self):
        self.condition = threading.Condition()
        self.results, self.events, self.n_attached = {}, [], 0
        self.outgoing = queue.Queue()
        self.ids = itertools.count(1)
        self.acknowledge = True
        self.before_welcome = []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        agents_pb2_grpc.add_AgentsServicer_to_server(self, self.server)
        self.address = "127.0.0.1:%d" % self.server.add_insecure_port("127.0.0.1:0")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.outgoing.put(None)
        self.server.stop(0).wait()

    def Attach(self, messages, context):
        outgoing = self.outgoing = queue.Queue()
        for message in self.before_welcome:
            outgoing.put(message)
        outgoing.put(agents_pb2.BrokerMessage(welcome=agents_pb2.Welcome(version=1, window_events=1000,
                                                                         heartbeat_ms=200)))
        threading.Thread(target=self.read, args=(messages, outgoing), daemon=True).start()
        with self.condition:
            self.n_attached += 1
            self.condition.notify_all()
        while (message := outgoing.get()) is not None:
            yield message

    def read(self, messages, outgoing):
        try:
            for message in messages:
                with self.condition:
                    if message.HasField("operation_result"):
                        result = message.operation_result
                        self.results.setdefault(result.id, []).append(result)
                    elif message.HasField("publish"):
                        self.events += message.publish.events
                        if self.acknowledge:
                            outgoing.put(agents_pb2.BrokerMessage(ack=agents_pb2.Ack(
                                source_sequence=message.publish.events[-1].origin.source_sequence)))
                    self.condition.notify_all()
        except grpc.RpcError:
            pass
        outgoing.put(None)

    def wait(self, condition, what):
        with self.condition:
            check(self.condition.wait_for(condition, LIMIT_S), f"waited in vain for {what}")

    def hang_up(self):
        n = self.n_attached
        self.outgoing.put(None)
        self.wait(lambda: self.n_attached > n, "the agent to attach again")

    def send(self, session="s1", generation=1, deadline_ms=30000, id=None, **operation):
        id = next(self.ids) if id is None else id
        self.outgoing.put(agents_pb2.BrokerMessage(operation=agents_pb2.Operation(
            id=id, session_id=session, generation=generation, deadline_ms=deadline_ms, **operation)))
        return id

    def result(self, id):
        self.wait(lambda: id in self.results, f"the result of operation {id}")
        return self.results[id][0]

    def ask(self, *expected, **members):
        result = self.result(self.send(**members))
        got = (A.Errno.Name(result.error)[6:], A.EinvalDetail.Name(result.detail)[14:])
        check_equal(got[:len(expected)], expected, f"{members}: {result}")
        return result


def opened(served, lun=0, **members):
    address = {**dict(host="agent-1", adapter="iscsi0", target_name=served.name, lun=lun), **members}
    return dict(open=A.Start(address=A.DeviceAddress(**address)))


TUR = dict(test_unit_ready=A.TestUnitReady())


@contextlib.contextmanager
def attached(*options):
    with ScriptedTarget(luns=(0, 1)) as target, FakeBroker() as broker:
        with Agent(broker, *options, targets=[url(target)], poll="1h") as agent:
            broker.wait(lambda: broker.n_attached, "the agent")
            agent.wait_log("state=armed")
            yield target, broker, agent
            check(agent.running(), agent.log())


def test_orders_that_make_no_sense_are_answered():
    with attached() as (target, broker, _):
        broker.send(close=agents_pb2.CloseOperation())  # nobody has it, and nobody answers
        broker.send(release_buffers=A.ReleaseBuffers(n_buffers=0xFFFFFFFF))
        for operation in (TUR, dict(event=A.RegisterEvent()), dict(halt=A.Halt()), dict(reset=A.Reset()),
                          dict(inquiry=A.Inquiry())):
            broker.ask("EINVAL", "NOT_STARTED", **operation)
        broker.ask("ENXIO", "NOT_SUPPORTED")  # no operation at all
        broker.ask("OK", **opened(target))
        broker.ask("EINVAL", "ALREADY_STARTED", **opened(target))
        broker.ask("EINVAL", "ALREADY_STARTED", generation=2, **opened(target))
        broker.ask("EINVAL", "NOT_STARTED", generation=2, **TUR)
        broker.send(generation=2, close=agents_pb2.CloseOperation())
        broker.ask("OK", **TUR)
        closed = [broker.send(close=agents_pb2.CloseOperation()), broker.send(close=agents_pb2.CloseOperation())]
        broker.ask("EINVAL", "NOT_STARTED", **TUR)
        check(not set(closed) & set(broker.results), "close is not answered")
        check_equal({id: len(r) for id, r in broker.results.items() if len(r) != 1}, {}, "answered more than once")
        check_equal(broker.n_attached, 1, "streams")


def test_odd_values_are_answered():
    with attached("--log-level", "debug") as (target, broker, agent):
        big = (1 << 32) - 1
        for text in ODD:
            broker.ask("EINVAL", session=text, **TUR)
            broker.ask("EINVAL", "ADDRESS", ioc_info=A.IocInfo(adapter=text or "?"))
            broker.ask("EINVAL", "ADDRESS", **opened(target, adapter=text or "?"))
            broker.ask("EINVAL", "ADDRESS", **opened(target, target_name=text or "?"))
            broker.ask("ENXIO", "NOT_SUPPORTED", open_target=A.StartTarget(
                address=A.DeviceAddress(adapter=text, target_name=text), n_buffers=big, buffer_bytes=big))
        for lun in (-1, 1 << 14, 1 << 16, (1 << 63) - 1, -(1 << 63)):
            broker.ask("EINVAL", "ADDRESS", **opened(target, lun))
        for number in (-1, 1, 2147483647, -2147483648):
            broker.ask("EINVAL", "ADDRESS", **opened(target, target_name="", target=number))
        broker.ask("EINVAL", "ADDRESS", open=A.Start())
        broker.ask("ENODEV", **opened(target, 16383))
        broker.ask("OK", **opened(target))
        for page in (256, 1 << 31, big):
            broker.ask("EINVAL", inquiry=A.Inquiry(page=page))
        broker.ask("OK", deadline_ms=big, **TUR)
        broker.ask("OK", deadline_ms=0, **TUR)
        broker.ask("OK", id=(1 << 64) - 1, generation=1, **TUR)
        for result in itertools.chain(*broker.results.values()):
            check(len(result.message.encode()) <= 256, result.message)
        check("\x1b" not in agent.log(), "control characters in the log")
        check_equal(broker.n_attached, 1, "streams")


def test_one_id_for_two_operations_is_two_answers():
    with attached() as (target, broker, _):
        broker.ask("OK", **opened(target))
        target.script(delay_ms=100)
        for _ in range(2):
            broker.send(id=77, **TUR)
        broker.wait(lambda: len(broker.results.get(77, ())) == 2, "two answers")


def test_an_operation_before_the_welcome_ends_the_stream():
    with attached() as (target, broker, agent):
        broker.before_welcome = [agents_pb2.BrokerMessage(operation=agents_pb2.Operation(id=5, ioc_info=A.IocInfo()))]
        broker.hang_up()
        agent.wait_log("an Operation before the Welcome")
        broker.before_welcome = []
        check(5 not in broker.results, "it was answered")


def test_the_end_of_the_stream_in_the_middle_of_all_gives_everything_up():  # rule 6, A19
    with attached() as (target, broker, agent):
        for n in range(20):
            broker.ask("OK", session=f"s{n}", **opened(target, n % 2))
        target.set(hang_tasks=True)
        for _ in range(40):
            target.script(drop=True, remember=True)
        asked = [broker.send(session=f"s{n % 20}", **TUR) for n in range(40)]
        asked += [broker.send(session="s0", reset=A.Reset(lun_reset=True))]
        target.wait(lambda: len(target.remembered) == 40, "all of them at the target")
        broker.hang_up()
        for n in range(20):
            broker.ask("EINVAL", "NOT_STARTED", session=f"s{n}", **TUR)
        broker.ask("OK", session="s0", **opened(target))  # the id is free
        target.answer_late()
        request = target.wait_pdu(lambda p: p["opcode"] == 2)
        target.session().answer(0x22, bytes.fromhex(request["header"]))  # the reset was done after all
        broker.wait(lambda: [e for e in broker.events if e.code == code_pb2.LUN_RESET], "its event")
        event = next(e for e in broker.events if e.code == code_pb2.LUN_RESET)
        check_equal((event.origin_session, event.address.lun), ("s0", 0), "by whom, where")
        broker.ask("OK", session="s0", **TUR)
        check(not set(asked) & set(broker.results), "answers to a stream that is over")


def test_an_answer_names_an_event_that_was_sent():  # rule 15
    with attached() as (target, broker, _):
        broker.ask("OK", **opened(target, 1))
        result = broker.ask("OK", reset=A.Reset(lun_reset=True))
        broker.wait(lambda: [e for e in broker.events if e.code == code_pb2.LUN_RESET], "the event")
        event = next(e for e in broker.events if e.code == code_pb2.LUN_RESET)
        check_equal(result.after_source_sequence, event.origin.source_sequence, "the event of the reset")


def test_floods_of_sessions_and_operations_are_answered_one_by_one():
    with attached() as (target, broker, _):
        ids = [broker.send(session=f"s{n}", deadline_ms=600000, **opened(target, n % 2)) for n in range(3000)]
        ids += [broker.send(ioc_info=A.IocInfo()) for _ in range(3000)]
        broker.wait(lambda: set(ids) <= set(broker.results), "all answers")
        errors = {A.Errno.Name(broker.results[id][0].error) for id in ids}
        check(errors <= {"ERRNO_OK", "ERRNO_ENOMEM"}, str(errors))
        check_equal({id: len(r) for id, r in broker.results.items() if len(r) != 1}, {}, "answered more than once")
        broker.ask("OK", session="after", **opened(target))


def test_the_agent_stops_while_operations_run():
    with attached() as (target, broker, agent):
        broker.ask("OK", **opened(target))
        target.set(hang_tasks=True)
        for _ in range(10):
            target.script(drop=True)
            broker.send(**TUR)
        broker.send(reset=A.Reset(lun_reset=True))
        target.wait_pdu(lambda p: p["opcode"] == 2)
        check_equal(agent.stop(), 0, "exit status")
        agent.start()
        agent.wait_log("publish.attached", 2)


if __name__ == "__main__":
    run_tests(globals())
