# SPDX-License-Identifier: Apache-2.0
"""The commands on the originals' operations, with a real broker and a synthetic agent."""
import json
import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403
from cli_program import Running, out_of_time, sensebus  # noqa: E402
from sensebus.v1 import sdi_pb2, sdi_pb2_grpc  # noqa: E402

T1 = "iqn.2026-01.example:t1"
DEVICE = f"agent-1:{T1}:1"
TARGET_MODE = {"iscsi0": ALL_CAPABILITIES, "tgt1": ("event", "target-mode")}


def on_lun(broker):
    """Session ids and states of what is open."""
    return {s["sessionId"]: s for s in sensebus("sessions", "-o", "ndjson", broker=broker).objects()}


def wait_session(broker, registered=True):
    """The one session that is open, once it is registered."""
    return wait_until(lambda: next((i for i, s in on_lun(broker).items() if bool(s.get("registered")) == registered), None),
                      "the session")


# ---------------------------------------------------------------------------------------------------- looking

def test_ioc_shows_the_adapter():
    # rule 13
    with face() as (broker, _, __):
        text = sensebus("ioc", "agent-1", broker=broker).out
        check(re.search(r"^adapter +iscsi0$", text, re.M) and re.search(r"^max transfer +1\S* ?M", text, re.M), text)
        check(re.search(r"^device number 8:1$", text, re.M) and "reset-lun" in text, text)
        shown = json.loads(sensebus("ioc", "agent-1", "--adapter", "iscsi0", "-o", "json", broker=broker).out)
        check_equal((shown["adapter"], shown["major"], shown["transport"]), ("iscsi0", 8, "TRANSPORT_ISCSI"))
        result = sensebus("ioc", "agent-1", "--adapter", "iscsi7", broker=broker, expect=1)
        check("EINVAL ADDRESS" in result.err, result.err)
        check("EIO" in sensebus("ioc", "agent-9", broker=broker, expect=1).err)
        check("agents" in sensebus("ioc", broker=broker, expect=2).err)
        sensebus("ioc", "a", "b", broker=broker, expect=2)


def test_sessions_are_listed():
    with face() as (broker, _, stream):
        check_equal(len(sensebus("sessions", broker=broker).lines()), 1)
        session = stream.started(1, 1)
        check_result(stream.register(session))
        row = sensebus("sessions", broker=broker).lines()[1]
        check(re.match(rf"{session.session_id} +agent-1 +iscsi0 +{T1} +1 +initiator +registered +- +\d+s ago +plaintext",
                       row), row)
        wide = sensebus("sessions", "agent-*", "-o", "wide", broker=broker).out
        check("SENT/LOST" in wide and "0/0" in wide, wide)
        check_equal(len(sensebus("sessions", "other", broker=broker).lines()), 1)
        check_equal(on_lun(broker)[session.session_id]["address"]["targetName"], T1)


# ---------------------------------------------------------------------------------------------------- register

def test_register_prints_events_with_their_correlator_until_interrupted():
    # rules 4, 7
    with face() as (broker, agent, _), \
            Running("register", DEVICE, "--correlator", "0x7f21", broker=broker) as watching:
        watching.wait_error("registered: session ")
        session = wait_session(broker)
        agent.publish(make_event("agent-1", agent.epoch, 1, target=1, lun=1))
        watching.wait_lines(1)
        check(re.match(r"0x7f21 reset \S+ agent-1 .*LUN_RESET", watching.out[0]), watching.out)
        second = sensebus("register", DEVICE, broker=broker, expect=9)
        check("EINVAL ALREADY_STARTED" in second.err, second.err)
        third = sensebus("register", "--session", session, broker=broker, expect=9)
        check("EINVAL ALREADY_REGISTERED" in third.err, third.err)
        watching.interrupt()
        watching.end(130)
        wait_until(lambda: not on_lun(broker), "the end of the session")


def test_register_counts_and_prints_json():
    # rule 21: what was registered is echoed
    with face() as (broker, agent, _):
        with Running("register", "--host", "agent-1", "--target", "1", "--lun", "1", "--correlator", "db 7", "--count", "2",
                     "-o", "ndjson", broker=broker) as watching:
            wait_session(broker)
            for n in (1, 2):
                agent.publish(make_event("agent-1", agent.epoch, n, target=1, lun=1))
            watching.end(0)
            first, second = (json.loads(line) for line in watching.out)
        check_equal(first["correlator"], "ZGIgNw==")
        check_equal((first["events"], first["mode"], first["registered"]["lun"]), (4, "MODE_INITIATOR", "1"))
        check(int(first["record"]["sequence"]) < int(second["record"]["sequence"]), "order")


def test_register_shared_and_by_session():
    # rule 3; A1: another stream of the same principal may register
    with face() as (broker, agent, stream):
        session = stream.started(1, 1, shared=True)
        with Running("register", DEVICE, "--shared", "--count", "1", broker=broker) as other, \
                Running("register", "--session", session.session_id, "--count", "1", broker=broker) as mine:
            wait_until(lambda: sum(bool(s.get("registered")) for s in on_lun(broker).values()) == 2, "both registrations")
            agent.publish(make_event("agent-1", agent.epoch, 1, target=1, lun=1))
            other.end(0)
            mine.end(0)
        check_equal(list(on_lun(broker)), [session.session_id])


def test_register_in_target_mode_prints_what_comes():
    # rule 23
    with face(adapters=TARGET_MODE) as (broker, agent, _):
        with Running("register", "agent-1:iqn.2026-01.example:remote:0", "--adapter", "tgt1", "--mode", "target", "-o",
                     "ndjson", broker=broker) as watching:
            session = wait_session(broker)
            operation = agent.operated("open_target")[0]
            agent.send(agents_pb2.AgentMessage(target_received=agents_pb2.TargetReceived(
                session_id=session, generation=operation.generation, data=b"hello")))
            watching.wait_lines(1)
            check_equal(json.loads(watching.out[0])["targetData"]["data"], "aGVsbG8=")
            agent.wait(lambda a: a.operated("release_buffers"), "the buffer's release")
            watching.interrupt(signal.SIGTERM)
            watching.end(130)


def test_who_ends_the_session_is_told():
    # rules 5, 6
    with face() as (broker, agent, _):
        with Running("register", DEVICE, broker=broker) as watching:
            session = wait_session(broker)
            ended = sensebus("end-session", session, "--reason", "failover to b-8", broker=broker)
            check("plaintext, with its registration" in ended.out, ended.out)
            watching.end(9)
            check(any("failover to b-8" in line for line in watching.err), watching.err)
            check("REGISTRATION_CANCELLED" in watching.out[-1], watching.out)
        check("NOT_FOUND" in sensebus("end-session", session, "--reason", "again", broker=broker, expect=1).err)
        check("--reason" in sensebus("end-session", session, broker=broker, expect=2).err)
        with Running("register", DEVICE, broker=broker) as watching:
            wait_session(broker)
            agent.vanish()
            watching.end(1)
            check(any("AGENT_LOST" in line for line in watching.err), watching.err)


def test_a_lost_broker_ends_register():
    with face() as (broker, _, __):
        with Running("register", DEVICE, "-o", "ndjson", broker=broker) as watching:
            wait_session(broker)
            broker.kill()
            watching.end(3)
            check_equal(json.loads(watching.out[-1])["record"]["code"], "REGISTRATION_CANCELLED")


# ---------------------------------------------------------------------------------------------------- operations

def test_tm_event_and_wait_pri():
    # rules 24, 25; A7
    with face() as (broker, agent, stream):
        session = stream.started(1, 1)
        check_equal(sensebus("tm-event", "--session", session.session_id, broker=broker).out, "0x0 -\n")
        check("timeout" in sensebus("wait-pri", "--session", session.session_id, "--timeout", "0", broker=broker,
                                    expect=6).err)
        agent.publish(make_event("agent-1", agent.epoch, 1, target=1, lun=1))
        ready = sensebus("wait-pri", "--session", session.session_id, "--timeout", "60s", broker=broker)
        check_equal(ready.out, f"{session.session_id} ready 0x4 reset\n")
        shown = json.loads(sensebus("tm-event", "--session", session.session_id, "--peek", "-o", "json", broker=broker).out)
        check_equal(shown, {"events": 4})
        check_equal(sensebus("tm-event", "--session", session.session_id, broker=broker).out, "0x4 reset\n")
        check_equal(sensebus("tm-event", "--session", session.session_id, broker=broker).out, "0x0 -\n")
        gone = sensebus("wait-pri", "--session", "s-of-nobody", broker=broker, expect=1)
        check_equal(gone.out, "s-of-nobody closed\n")
        check("NOT_STARTED" in sensebus("tm-event", "--session", "s-of-nobody", broker=broker, expect=1).err)


def test_wait_pri_opens_devices():
    # rule 25
    with face() as (broker, agent, _):
        with Running("wait-pri", DEVICE, f"agent-1:{T1}:0", "-o", "ndjson", broker=broker) as waiting:
            wait_until(lambda: len(on_lun(broker)) == 2, "both sessions")
            agent.publish(make_event("agent-1", agent.epoch, 1, target=1, lun=1))
            waiting.end(0)
            check_equal(json.loads(waiting.out[0]), {"ready": [DEVICE]})
        with Running("wait-pri", DEVICE, broker=broker) as waiting:
            wait_session(broker, registered=False)
            waiting.interrupt()
            waiting.end(130)


def test_a_signal_while_it_connects_is_130():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LIMIT_S)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for command in (["register", DEVICE], ["listen", "0x100"], ["wait-pri", DEVICE], ["watch"], ["get"]):
            with Running(*command, address=address) as program:
                connection, _ = silent.accept()
                program.interrupt()
                program.end(130)
                connection.close()


def test_halt_and_reset():
    # rules 14, 15
    with face() as (broker, agent, stream):
        check_equal(sensebus("halt", DEVICE, broker=broker).out, f"halted agent-1 {T1} LUN 1\n")
        check_equal(len(agent.operated("halt")), 1)
        session = stream.started(1, 1)
        check_equal(sensebus("halt", "--session", session.session_id, broker=broker).out,
                    f"halted session {session.session_id}\n")
        check(on_lun(broker)[session.session_id]["halted"], "it stays halted")
        said = sensebus("reset", DEVICE, "--scope", "lun", broker=broker, expect=9).err
        check("ALREADY_STARTED" in said and "--session" in said, said)
        sensebus("reset", "--session", session.session_id, "--scope", "lun", broker=broker)
        sensebus("reset", "agent-1:2", "--scope", "target", broker=broker)
        check_equal([o.reset.lun_reset for o in agent.operated("reset")], [True, False])
        check("--scope" in sensebus("reset", DEVICE, broker=broker, expect=2).err)
        sensebus("reset", DEVICE, "--scope", "bus", broker=broker, expect=2)
        agent.answers["halt"] = SILENCE
        out_of_time("halt", "agent-1:2", broker=broker, word="ETIMEDOUT")
        check("EINVAL ADDRESS" in sensebus("halt", "agent-1:7", broker=broker, expect=1).err)


def test_without_the_role_it_is_exit_5():
    # rule 1
    with unix_face(READER_ON_UNIX) as (broker, _, __, ___):
        where = next(o for o in broker.arguments if o.startswith("unix:"))
        for arguments in (["register", DEVICE], ["halt", DEVICE], ["reset", DEVICE, "--scope", "lun"], ["listen", "firstopen"],
                          ["notify", "0x100"], ["xaen", "reset", "--hba", "0"], ["end-session", "s1", "--reason", "x"]):
            result = sensebus(*arguments, "--broker", where, expect=5)
            check(result.err and not result.out, f"{arguments}: {result.out} {result.err}")
        sensebus("sessions", "--broker", where)
        sensebus("tm-event", DEVICE, "--broker", where)


# ---------------------------------------------------------------------------------------------------- SDI

def test_listen_shows_as_many_as_asked_for():
    # rule 29: who comes when it is over hears that nobody did it
    with face() as (broker, _, __), Running("listen", "0x100", "0x101", "--count", "1", broker=broker) as listening:
        listening.wait_error("listening")
        listening.process.send_signal(signal.SIGSTOP)
        stub = sdi_pb2_grpc.SdiStub(broker.channel())
        calls = [stub.NotifyEvent.future(sdi_pb2.NotifyEventRequest(event_type=event_type, deadline_ms=60000),
                                         timeout=LIMIT_S) for event_type in (0x100, 0x101)]
        wait_until(lambda: broker.counters()["sensebus_sdi_calls_total"] == 2, "both calls")
        listening.process.send_signal(signal.SIGCONT)
        listening.end(0)
        check_equal(len(listening.out), 1, "calls shown")
        check_equal(sorted(call.result().n_failed for call in calls), [0, 1], "failed handlers")


def test_listen_answers_notify():
    # rules 26, 29; A13, A17
    with face() as (broker, _, __):
        check_equal(sensebus("notify", "0x100", broker=broker).out, "OK  0 called, 0 failed\n")
        with Running("listen", "0x100", "0x101", "--addr", "0:*:*:4", "--count", "2", broker=broker) as good, \
                Running("listen", "0x100", "--verdict", "err", "-o", "ndjson", "--device-type", "disk",
                        broker=broker) as bad:
            good.wait_error("listening")
            bad.wait_error("listening")
            result = sensebus("notify", "0x100", "--host", "db-07", "--addr", "0:-1:1:4", "--data", "0x0102", broker=broker,
                              expect=1)
            check_equal(result.out, "ERR  2 called, 1 failed\n")
            answer = json.loads(sensebus("notify", "0x101", "--addr", "0:0:1:4", "--device-type", "tape", "-o", "json",
                                         broker=broker).out)
            check_equal(answer, {"result": "SDI_RETURN_OK", "nCalled": 1})
            good.end(0)
            check_equal(good.out, ["0x100 db-07 0:-1:1:4 from plaintext 0x0102", "0x101 - 0:0:1:4 from plaintext"])
            check_equal(json.loads(bad.wait_lines(1)[0])["sb"], "AQI=")
            bad.interrupt()
            bad.end(130)
        for arguments in (["notify", "firstopen"], ["notify", "0xff"], ["listen", "4"]):
            check("EVENT_TYPE" in sensebus(*arguments, broker=broker, expect=2).err)
        for arguments in (["notify"], ["notify", "x"], ["notify", "0x100", "--addr", "1:2:3"], ["listen"],
                          ["notify", "0x100", "--data", "0x1"], ["listen", "0x100", "--addr", "a:b:c:d"],
                          ["listen", "0x100", "--verdict", "maybe"], ["notify", "0x100", "--device-type", "any"]):
            sensebus(*arguments, broker=broker, expect=2)


def test_sessions_are_driver_events_and_hear_of_xaen():
    # rules 30, 31; A16
    with face() as (broker, _, __):
        with Running("listen", "firstopen", "lastclose", broker=broker) as listening, \
                Running("register", DEVICE, "--count", "2", broker=broker) as watching:
            listening.wait_error("listening")
            wait_session(broker)
            sensebus("xaen", "reset", "--hba", "0", "--id", "1", "--lun", "1", "--host", "agent-1", broker=broker)
            sensebus("xaen", "pthru", "--hba", "0", "--aen", broker=broker)
            watching.end(0)
            check("LUN_RESET" in watching.out[0] and "PASSTHROUGH_USED" in watching.out[1], watching.out)
            lines = listening.wait_lines(1)
            wait_until(lambda: any(line.startswith("LASTCLOSE agent-1 0:") for line in lines), f"the last close in {lines}")
            check("from the broker" in lines[-1] or " from " in lines[-1], lines)
        sensebus("xaen", "reset", "--hba", "77", broker=broker)
        for arguments in (["xaen", "reset"], ["xaen", "reset", "--hba", "-1"], ["xaen"], ["xaen", "what", "--hba", "0"],
                          ["xaen", "reset", "--hba", "0", "--aen", "--var", "1"], ["xaen", "reset", "--hba", "0", "--id", "-2"]):
            sensebus(*arguments, broker=broker, expect=2)


# ---------------------------------------------------------------------------------------------------- usage

def test_devices_are_named_once_and_right():
    for arguments in (["halt"], ["halt", "db-07"], ["halt", DEVICE, "x:1"], ["halt", DEVICE, "--host", "h"],
                      ["halt", DEVICE, "--lun", "2"], ["halt", "--session", "s1", DEVICE], ["halt", "--host", "h"],
                      ["halt", "--session", "s1", "--lun", "2"], ["halt", "h:1", "--bus", "-2"], ["halt", "h:1", "--lun", "x"],
                      ["register", "h:1", "--mode", "both"], ["register", "h:1", "--correlator", "0x" + "00" * 257],
                      ["register", "h:1", "--shared", "--mode", "target"], ["tm-event", "h:1", "-o", "wide"], ["wait-pri"],
                      ["wait-pri", "h:1", "--timeout", "soon"], ["wait-pri", "h"], ["sessions", "-o", "x"],
                      ["end-session"], ["end-session", "a", "b", "--reason", "x"], ["halt", "h:1", "--scop", "lun"]):
        result = sensebus(*arguments, "--broker", "unix:/nonexistent", expect=None)
        check(result.code == (3 if arguments == ["wait-pri", "h"] else 2) and result.err, f"{arguments}: {result.code} {result.err}")
    for command in ("sessions", "register", "halt", "reset", "ioc", "tm-event", "wait-pri", "notify", "listen", "xaen",
                    "end-session"):
        check(sensebus(command, "-h").out.startswith(f"usage: sensebus {command} "), command)
        sensebus(command, *(["h:1"] if command in ("register", "halt", "tm-event", "wait-pri") else
                            ["0x100"] if command in ("notify", "listen") else
                            ["h:1", "--scope", "lun"] if command == "reset" else
                            ["reset", "--hba", "0"] if command == "xaen" else
                            ["s1", "--reason", "x"] if command == "end-session" else
                            [] if command == "sessions" else ["h"]), "--broker", "unix:/nonexistent", expect=3)


if __name__ == "__main__":
    run_tests(globals())
