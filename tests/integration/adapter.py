# SPDX-License-Identifier: Apache-2.0
"""The Adapter face over real connections: what each request is answered, errno by errno, detail by detail.

The rules are those of the contract: "rule 4" and "A2" at a test name what it proves. Events are in adapter_events.py,
bounds in adapter_bounds.py."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from adapter_stream import *  # noqa: E402,F403


# ---------------------------------------------------------------------------------------------------- before START

def test_ioc_info_needs_no_session():
    # rule 13; rule 20: the adapter's numbers
    with face() as (broker, agent, stream):
        result = check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="iscsi0"))).ioc_info
        check_equal(result.adapter, "iscsi0")
        check_equal((result.major, result.minor), (8, 1))
        check_equal(result.maximum_transfer_bytes, 1 << 20)
        check_equal(list(result.capabilities), list(ALL_CAPABILITIES))
        check_equal(check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1"))).ioc_info.adapter, "iscsi0")
        check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="iscsi7")), "EINVAL", "ADDRESS")
        check_result(stream.ask(ioc_info=A.IocInfo(host="agent-2")), "EIO", "NONE", "agent-2")


def test_start_says_what_it_reached():
    # rule 2, A22: the number and the name lead to the same unit, and both come back
    with face() as (broker, agent, stream):
        first = stream.started(1, 1)
        check(first.session_id and first.generation > 0 and not first.already_started, f"got {first}")
        check_equal(first.reached.vendor, "ACME")
        check_equal(first.address, A.DeviceAddress(host="agent-1", adapter="iscsi0", bus=-1, target=1, lun=1,
                                                   target_name="iqn.2026-01.example:t1"))
        second = check_result(stream.ask(start=A.Start(address=A.DeviceAddress(
            host="agent-1", target_name="iqn.2026-01.example:t2", target=9)))).start
        check_equal((second.address.target, second.address.lun), (2, 0))
        check(second.generation > first.generation, "a later START has a larger generation")
        opened = agent.operated("open")
        check_equal([o.session_id for o in opened], [first.session_id, second.session_id])
        check_equal(opened[0].open.address, first.address)
        check(all(o.deadline_ms > 0 and o.id > 0 for o in opened), "operations carry an id and a deadline")


def test_start_again_is_einval_already_started():
    # rule 3: exclusive, by whatever name, until STOP; SHARED is the explicit extension, and both must say so
    with face() as (broker, agent, stream), AdapterStream(broker) as other:
        session = stream.started(1, 0)
        check_result(stream.start(1, 0), "EINVAL", "ALREADY_STARTED")
        check_result(other.ask(start=A.Start(address=A.DeviceAddress(
            host="agent-1", target_name="iqn.2026-01.example:t1"))), "EINVAL", "ALREADY_STARTED")
        check_result(other.start(1, 0, shared=True), "EINVAL", "ALREADY_STARTED")
        check_result(stream.stop(session))
        again = other.started(1, 0, shared=True)
        check(again.generation > session.generation and not again.already_started, f"got {again}")
        second = check_result(stream.start(1, 0, shared=True)).start
        check(second.already_started and second.session_id != again.session_id, f"got {second}")
        check_result(stream.start(1, 0), "EINVAL", "ALREADY_STARTED")
        check_result(stream.register(second))
        check_result(other.register(again))
        # the place is taken from the moment that START is accepted, and free again when the agent refuses
        agent.answers["open"] = SILENCE
        first = stream.send(start=A.Start(address=address(2, 0)))
        wait_until(lambda: len(agent.operated("open")) == 4, "the START at the agent")
        check_result(other.start(2, 0), "EINVAL", "ALREADY_STARTED")
        agent.result(agent.operated("open")[-1], error=A.ERRNO_ENOCONNECT)
        check_result(stream.result(first), "ENOCONNECT")
        del agent.answers["open"]
        other.started(2, 0)


# ---------------------------------------------------------------------------------------------------- addresses

def test_wrong_addresses_are_einval_address():
    with face(devices=DEVICES + [make_device(1, 0, adapter="scsi1", name="")]) as (broker, agent, stream):
        check_result(stream.start(1, 0), "EINVAL", "ADDRESS")  # two adapters have it
        check_result(stream.start(1, 0, adapter="iscsi0"))
        check_result(stream.start(7, 0), "EINVAL", "ADDRESS")
        check_result(stream.start(1, 7), "EINVAL", "ADDRESS")
        check_result(stream.start(1, -1), "EINVAL", "ADDRESS")
        check_result(stream.start(1, 0, host=""), "EINVAL", "ADDRESS")
        check_result(stream.ask(start=A.Start()), "EINVAL", "ADDRESS")
        check_equal(len(agent.operated("open")), 1)


def test_start_of_the_adapters_own_id_is_einval_own_id():
    with face(adapters={"iscsi0": ALL_CAPABILITIES, "tgt1": ("event", "target-mode")}, own_ids={"iscsi0": ME, "tgt1": ME},
              devices=DEVICES + [make_device(3, 0, name=ME)]) as (broker, agent, stream):
        check_result(stream.start(3, 0), "EINVAL", "OWN_ID")
        check_result(stream.start_target(initiator=ME), "EINVAL", "OWN_ID")


def test_start_without_an_agent_is_eio():
    # A18: EIO is for agent and transport
    with face() as (broker, agent, stream):
        check_result(stream.start(1, 0, host="agent-2"), "EIO", "NONE", "agent-2")
        with FakeAgent(broker, host="agent-2", adapters=ADAPTERS) as other:  # attached, and no word of its devices
            check_result(stream.start(1, 0, host="agent-2"), "EIO", "NONE", "agent-2", "not said yet")
            other.inventory(make_device(2, 0))
            wait_until(lambda: (r := stream.start(1, 0, host="agent-2")).error != A.ERRNO_EIO and
                       check_result(r, "EINVAL", "ADDRESS"), "it has none of that number")


# ---------------------------------------------------------------------------------------------------- form

def test_version_and_reserved_and_mode():
    # rule 8, rule 9, A3
    with face() as (broker, agent, stream):
        session = stream.started()
        stop = A.Stop(session_id=session.session_id)
        check_result(stream.ask(version=0, stop=stop), "EINVAL", "VERSION")
        check_result(stream.ask(version=2, stop=stop), "EINVAL", "VERSION")
        check_result(stream.ask(reserved1=1, stop=stop), "EINVAL", "RESERVED")
        check_result(stream.ask(reserved2=1, stop=stop), "EINVAL", "RESERVED")
        check_result(stream.register(session, TARGET), "EINVAL", "MODE")
        check_result(stream.register(session, event_pb2.MODE_UNSPECIFIED), "EINVAL", "MODE")
        # an unknown field, outside and inside
        request = A.AdapterRequest(version=1, id=77, stop=stop).SerializeToString()
        stream.send_bytes(request + b"\xc0\x3e\x01")
        check_result(stream.result(77), "EINVAL", "RESERVED")
        stream.send_bytes(b"\x08\x01\x10\x4e\x6a\x03\xc0\x3e\x01")
        check_result(stream.result(78), "EINVAL", "RESERVED")
        check_result(stream.register(session))  # A2: none of it used up anything


def test_what_does_not_decode_is_efault_and_the_stream_stays():
    # rule 10
    with face() as (broker, agent, stream):
        stream.send_bytes(b"\x08\x01\x10\x65\x6a\xff")
        check_result(stream.result(101), "EFAULT")
        stream.send_bytes(b"\xff\xff\xff")
        check_result(stream.result(0), "EFAULT")
        stream.send_bytes(b"\x08\x01\x10\x66\x6a\x03\x0a\x01\xff")  # a string that is not UTF-8
        check_result(stream.result(102), "EFAULT", "NONE", "UTF-8")
        check_result(stream.ask(), "EFAULT")  # no operation
        session = stream.started()
        check_result(stream.register(session, correlator=bytes(257)), "EFAULT", "NONE", "257")
        check_result(stream.ask(deadline_ms=600_001, halt=A.Halt(session_id=session.session_id)), "EFAULT")
        check_result(stream.ask(wait_pri=A.WaitPri(timeout_ms=0)), "EFAULT")
        check_result(stream.ask(wait_pri=A.WaitPri(session_ids=["x"] * 1025)), "EFAULT")
        check_result(stream.register(session))


def test_over_size_closes_the_stream():
    # rule 10: beyond 4 MiB the stream ends, and with it what was started on it; nobody else's does
    with face() as (broker, agent, stream), AdapterStream(broker) as other:
        session, beside = stream.started(), other.started(1, 1)
        check_result(stream.register(session))
        stream.send_bytes(bytes(5 << 20))
        with expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "bytes"):
            stream.until_end()
        agent.wait(lambda a: session.session_id in [o.session_id for o in a.operated("close")], "the close")
        other.started(1, 0)
        check_result(other.test_unit_ready(beside))


def test_unknown_sessions_are_einval_not_started():
    # rule 2, A18: EINVAL, not EIO; gone and never there are the same
    with face() as (broker, agent, stream):
        session = stream.started()
        check_result(stream.stop(session))
        for gone in (session, A.StartResult(session_id="s123"), A.StartResult(session_id="")):
            for result in (stream.stop(gone), stream.halt(gone), stream.reset(gone), stream.register(gone),
                           stream.tm_event(gone), stream.inquiry(gone), stream.test_unit_ready(gone),
                           stream.ask(release_buffers=A.ReleaseBuffers(session_id=gone.session_id, n_buffers=1))):
                check_result(result, "EINVAL", "NOT_STARTED")
        check_equal(len(agent.operated("halt")), 0)


def test_a_request_with_several_faults_gets_the_first_of_the_order():
    # section 6, check order: EPERM, EFAULT, VERSION, RESERVED, MODE, NOT_STARTED, NOT_OWNER, ALREADY_REGISTERED
    with unix_face(READER_ON_UNIX) as (broker, agent, stream, channel), AdapterStream(broker, channel) as reader:
        session = stream.started()
        check_result(stream.register(session))

        def ask(on, session_id="s1", correlator=b"", mode=TARGET, **members):
            return on.ask(event=A.RegisterEvent(session_id=session_id, mode=mode, correlator=correlator), **members)

        check_result(ask(reader, correlator=bytes(257), version=9, reserved1=1), "EPERM")
        check_result(ask(stream, correlator=bytes(257), version=9, reserved1=1), "EFAULT")
        check_result(ask(stream, version=9, reserved1=1), "EINVAL", "VERSION")
        check_result(ask(stream, reserved1=1), "EINVAL", "RESERVED")
        check_result(ask(stream, session_id=session.session_id), "EINVAL", "MODE")
        check_result(ask(stream, mode=INITIATOR), "EINVAL", "NOT_STARTED")
        check_result(ask(stream, mode=INITIATOR, session_id=session.session_id), "EINVAL", "ALREADY_REGISTERED")


# ---------------------------------------------------------------------------------------------------- who may

def test_roles_are_of_the_identity():
    # rule 1: what a reader may, and what needs the kernel role or dev-config
    with unix_face(READER_ON_UNIX, adapters={"iscsi0": ALL_CAPABILITIES, "tgt1": ("event", "target-mode")}) \
            as (broker, agent, stream, channel), AdapterStream(broker, channel) as reader:
        check_result(reader.ask(ioc_info=A.IocInfo(host="agent-1", adapter="iscsi0")))
        session = reader.started()
        check_result(reader.register(session), "EPERM")
        check_result(reader.halt(session), "EPERM")
        check_result(reader.reset(session), "EPERM")
        check_result(reader.start_target(), "EPERM")
        check_result(reader.inquiry(session))
        check_result(reader.test_unit_ready(session))
        check_equal(check_result(reader.tm_event(session)).tm_event.events, 0)
        check_equal(list(check_result(reader.wait_pri(session, timeout_ms=0)).wait_pri.ready), [])
        check_result(reader.stop(session))
        with expect_status(grpc.StatusCode.PERMISSION_DENIED, "watcher"):
            admin_pb2_grpc.AdminStub(channel).EndSession(
                admin_pb2.EndSessionRequest(session_id="s1", reason="no"), timeout=LIMIT_S)


def test_dev_config_may_reset():
    # rule 1: TMIORESET needs dev_config authority
    config = 'principals: [{identity: "unix:uid=*", roles: [dev-config]}]\n'
    with unix_face(config) as (broker, agent, stream, channel), AdapterStream(broker, channel) as other:
        session = other.started()
        check_result(other.reset(session))
        check_result(other.halt(session), "EPERM")
        check_result(other.register(session), "EPERM")


def test_without_a_role_there_is_no_stream():
    # rule 1: default deny
    with Broker(plaintext_roles=None) as broker, AdapterStream(broker) as stream:
        with expect_status(grpc.StatusCode.PERMISSION_DENIED, "plaintext"):
            stream.until_end()
        with expect_status(grpc.StatusCode.PERMISSION_DENIED, "plaintext"):
            adapter_pb2_grpc.AdapterStub(broker.channel()).ListSessions(A.ListSessionsRequest(), timeout=LIMIT_S)


def test_sessions_of_another_principal_are_einval_not_owner():
    # A1
    with unix_face(KERNEL_ON_UNIX) as (broker, agent, stream, channel), AdapterStream(broker, channel) as other:
        session = stream.started()
        for result in (other.stop(session), other.halt(session), other.reset(session), other.register(session),
                       other.tm_event(session), other.inquiry(session), other.test_unit_ready(session),
                       other.wait_pri(session, timeout_ms=0)):
            check_result(result, "EINVAL", "NOT_OWNER")
        check_result(stream.register(session))  # nothing of that used up the one chance


# ---------------------------------------------------------------------------------------------------- registering

def test_a_session_is_registered_once():
    # rule 4: from the same stream or another one; the message names the holder's registration time
    with face() as (broker, agent, stream), AdapterStream(broker) as other:
        session = stream.started()
        check_result(stream.register(session))
        check_result(stream.register(session), "EINVAL", "ALREADY_REGISTERED", "registered", "Z")
        check_result(other.register(session), "EINVAL", "ALREADY_REGISTERED", "registered", "Z")
        check_equal(len(agent.operated("event")), 1)
        check_equal(broker.counters()["sensebus_adapter_registration_conflicts_total"], 2)


def test_a_failed_registration_leaves_the_chance():
    # A2, A5: the agent refuses, then does not
    with face() as (broker, agent, stream):
        session = stream.started()
        agent.answers["event"] = dict(error=A.ERRNO_ENXIO, detail=A.EINVAL_DETAIL_NOT_SUPPORTED, message="no hook")
        check_result(stream.register(session), "ENXIO", "NOT_SUPPORTED", "no hook")
        del agent.answers["event"]
        check_result(stream.register(session))


def test_another_stream_of_the_principal_may_register_and_its_end_ends_that():
    # rule 4: the session stays the starter's, its one chance stays used
    with face() as (broker, agent, stream):
        session = stream.started()
        with AdapterStream(broker) as other:
            check_result(other.register(session))
        wait_until(lambda: broker.counters()["sensebus_adapter_registrations_open"] == 0, "the registration to end")
        check_result(stream.register(session), "EINVAL", "ALREADY_REGISTERED")
        check_equal(stream.pending(session), 0)


# ---------------------------------------------------------------------------------------------------- support

def test_what_the_agent_cannot_do_is_enxio_not_supported():
    # rule 12, A4, A5: never silently
    with face(adapters={"iscsi0": (), "tgt0": ("event",)}) as (broker, agent, stream):
        session = stream.started()
        check_result(stream.register(session), "ENXIO", "NOT_SUPPORTED")
        check_result(stream.halt(session), "ENXIO", "NOT_SUPPORTED")
        check_result(stream.reset(session, lun_reset=True), "ENXIO", "NOT_SUPPORTED")
        check_result(stream.reset(session, lun_reset=False), "ENXIO", "NOT_SUPPORTED")
        check_result(stream.start_target(adapter="tgt0"), "ENXIO", "NOT_SUPPORTED")
        check_equal([o.WhichOneof("operation") for o in agent.operations], ["open"])
        # it learned something
        agent.inventory(*DEVICES, adapters=[agents_pb2.AdapterCapabilities(adapter="iscsi0",
                                                                           capabilities=ALL_CAPABILITIES)])
        wait_until(lambda: stream.start(2, 0, shared=True).error == A.ERRNO_OK and
                   stream.register(stream.started(2, 0, shared=True)).error == A.ERRNO_OK, "the new capabilities")


def test_an_adapter_in_diagnostics_is_eacces():
    # A23: all but IOCINFO
    with face(adapters={"iscsi0": ALL_CAPABILITIES + ("diagnostics",),
                        "tgt1": ("event", "target-mode", "diagnostics")}) as (broker, agent, stream):
        check_result(stream.start(1, 0), "EACCES")
        check_result(stream.start_target(adapter="tgt1"), "EACCES")
        check_result(stream.ask(ioc_info=A.IocInfo(host="agent-1", adapter="iscsi0")))


def test_what_the_agent_answers_is_told():
    # rule 32: the agent's errnos pass unchanged, with its words
    with face() as (broker, agent, stream):
        for error in ("ENODEV", "ENOCONNECT", "ETIMEDOUT", "EIO", "ENOMEM", "EACCES"):
            agent.answers["open"] = dict(error=A.Errno.Value("ERRNO_" + error), message=f"because of {error}")
            check_result(stream.start(1, 0), error, "NONE", f"because of {error}")
        del agent.answers["open"]
        session = stream.started(1, 0)
        agent.answers["inquiry"] = dict(command=A.CommandResult(
            scsi_status=2, sense=event_pb2.Sense(response_code=0x70, key=6, asc=0x29, ascq=1)))
        result = check_result(stream.inquiry(session, page=0x83))
        check_equal((result.command.scsi_status, result.command.sense.asc), (2, 0x29))
        check_equal(agent.operated("inquiry")[0].inquiry.page, 0x83)


# ---------------------------------------------------------------------------------------------------- HALT

def test_halted_is_enxio_until_a_command_carries_resume():
    # rule 14
    with face() as (broker, agent, stream):
        session = stream.started()
        check_result(stream.halt(session))
        check_result(stream.inquiry(session), "ENXIO", "HALTED")
        check_result(stream.test_unit_ready(session), "ENXIO", "HALTED")
        check_equal(len(agent.operated("inquiry")) + len(agent.operated("test_unit_ready")), 0)
        check_result(stream.test_unit_ready(session, resume=True))
        check_result(stream.inquiry(session))
        check_result(stream.halt(session))
        check_result(stream.inquiry(session, resume=True))


# ---------------------------------------------------------------------------------------------------- agents

def test_an_agent_that_is_silent_is_etimedout():
    with face() as (broker, agent, stream):
        session = stream.started()
        agent.answers["halt"] = SILENCE
        begin = time.monotonic()
        check_result(stream.halt(session, deadline_ms=200), "ETIMEDOUT")
        check(time.monotonic() - begin >= 0.2, "it waited as long as was said")
        # a late answer is counted, and changes nothing
        agent.result(agent.operated("halt")[0])
        wait_until(lambda: broker.counters()["sensebus_adapter_results_late_total"] == 1, "the late answer")
        check_result(stream.inquiry(session))


def test_an_agent_that_dies_is_eio_for_what_was_on_its_way():
    # rule 6
    with face() as (broker, agent, stream):
        session = stream.started()
        agent.answers["inquiry"] = SILENCE
        waiting = stream.send(inquiry=A.Inquiry(session_id=session.session_id))
        wait_until(lambda: agent.operated("inquiry"), "the operation")
        agent.vanish()
        check_result(stream.result(waiting), "EIO")
        check_result(stream.inquiry(session), "EINVAL", "NOT_STARTED")
        check_result(stream.start(1, 0), "EIO")


def test_an_agent_that_comes_back_revives_nothing():
    # A19, rule 2: START again, with a new generation
    with face() as (broker, agent, stream):
        old = stream.started()
        check_result(stream.register(old))
        agent.vanish()
        stream.wait_code("REGISTRATION_CANCELLED")
        with FakeAgent(broker, adapters=ADAPTERS, devices=DEVICES):
            wait_until(lambda: stream.start(2, 0, shared=True).error == A.ERRNO_OK, "the agent")
            check_result(stream.tm_event(old), "EINVAL", "NOT_STARTED")
            check(stream.started(1, 0).generation > old.generation, "a new generation")


def test_results_that_break_the_contract_end_the_agents_stream():
    with Broker() as broker:
        def refused(text, **members):
            with FakeAgent(broker, adapters=ADAPTERS, devices=DEVICES) as agent:
                agent.send(agents_pb2.AgentMessage(**members))
                with expect_status(grpc.StatusCode.INVALID_ARGUMENT, text):
                    agent.until_end()
        result = agents_pb2.OperationResult
        refused("id", operation_result=result())
        refused("message", operation_result=result(id=1, message="x" * 257))
        refused("detail", operation_result=result(id=1, detail=A.EINVAL_DETAIL_MODE))
        refused("error", operation_result=result(id=1, error=99))
        refused("scsi_status", operation_result=result(id=1, command=A.CommandResult(scsi_status=256)))
        refused("session_id", target_received=agents_pb2.TargetReceived(data=b"x"))
        refused("data", target_received=agents_pb2.TargetReceived(session_id="s1", data=bytes(4097)))
        with FakeAgent(broker, adapters=ADAPTERS, devices=DEVICES) as agent:
            agent.send(agents_pb2.AgentMessage(operation_result=result(id=1 << 40)))
            wait_until(lambda: broker.counters()["sensebus_adapter_results_late_total"] == 1, "the unknown id")
            check(not agent.ended.is_set(), "an id that nobody knows is no reason to end the stream")


# ---------------------------------------------------------------------------------------------------- the open

def test_what_was_started_ends_with_the_stream():
    # rule 5
    with face() as (broker, agent, stream):
        with AdapterStream(broker) as other:
            session = other.started()
            check_result(other.register(session))
        wait_until(lambda: agent.operated("close"), "the agent to hear of it")
        check_equal(agent.operated("close")[0].session_id, session.session_id)
        check_equal(agent.operated("close")[0].generation, session.generation)
        stream.started()


def test_closing_ones_side_ends_the_open_after_the_last_reply():
    with face() as (broker, agent, stream):
        agent.answers["inquiry"] = SILENCE
        session = stream.started()
        waiting = stream.send(inquiry=A.Inquiry(session_id=session.session_id))
        stream.half_close()
        wait_until(lambda: agent.operated("inquiry"), "the operation")
        check(not stream.is_over, "a reply is owed")
        agent.result(agent.operated("inquiry")[0])
        check_result(stream.result(waiting))
        stream.until_end()
        wait_until(lambda: agent.operated("close"), "the session to end")


def test_replies_come_when_they_are_done():
    with face() as (broker, agent, stream):
        session = stream.started()
        agent.answers["inquiry"] = SILENCE
        slow = stream.send(inquiry=A.Inquiry(session_id=session.session_id))
        check_result(stream.test_unit_ready(session))
        check(not stream.answered(slow), "a slow one holds nobody up")
        agent.result(agent.operated("inquiry")[0])
        check_result(stream.result(slow))


def test_sessions_are_listed():
    with unix_face(KERNEL_ON_UNIX) as (broker, agent, stream, channel), AdapterStream(broker, channel) as other:
        sessions = [stream.started(1, 0), stream.started(1, 1), other.started(2, 0)]
        check_result(stream.register(sessions[0]))
        check_result(stream.halt(sessions[1]))
        stub = adapter_pb2_grpc.AdapterStub(broker.channel())
        listed, token = [], ""
        while True:
            page = stub.ListSessions(A.ListSessionsRequest(page_size=2, page_token=token), timeout=LIMIT_S)
            listed += page.sessions
            token = page.next_page_token
            if not token:
                break
        by_id = {s.session_id: s for s in listed}
        check_equal(len(listed), 3)
        check_equal([by_id[s.session_id].generation for s in sessions], [s.generation for s in sessions])
        check_equal([by_id[s.session_id].registered for s in sessions], [True, False, False])
        check_equal([by_id[s.session_id].halted for s in sessions], [False, True, False])
        check_equal([by_id[s.session_id].principal for s in sessions], ["plaintext", "plaintext", "kernel-2"])
        check(by_id[sessions[0].session_id].registered_unix_ns > 0, "since when")
        check_equal(len(stub.ListSessions(A.ListSessionsRequest(hosts=["agent-2"]), timeout=LIMIT_S).sessions), 0)
        check_equal(len(stub.ListSessions(A.ListSessionsRequest(hosts=["agent-1"]), timeout=LIMIT_S).sessions), 3)
        with expect_status(grpc.StatusCode.INVALID_ARGUMENT):
            stub.ListSessions(A.ListSessionsRequest(page_size=10_001), timeout=LIMIT_S)


def test_the_buffers_of_target_mode_are_checked():
    # rule 11, rule 23: EINVAL BUFFERS; A3
    with face(adapters={"tgt1": ("event", "target-mode")}) as (broker, agent, stream):
        check_result(stream.start_target(buffer_bytes=4097), "EINVAL", "BUFFERS")
        check_result(stream.start_target(buffer_bytes=0), "EINVAL", "BUFFERS")
        check_result(stream.start_target(n_buffers=15), "EINVAL", "BUFFERS")
        check_result(stream.start_target(correlator=bytes(257)), "EFAULT")
        check_result(stream.start_target(lun=1), "EINVAL", "ADDRESS")
        session = check_result(stream.start_target()).start
        check_result(stream.register(session, INITIATOR), "EINVAL", "MODE")
        check_result(stream.register(session, TARGET))  # A4
        check_result(stream.halt(session), "EINVAL", "MODE")


if __name__ == "__main__":
    run_tests(globals())
