# SPDX-License-Identifier: Apache-2.0
"""One Adapter.Open on a stock client: requests go out, results come back by id, events and data are kept in order."""
from sensebus_testlib import *  # noqa: F401,F403

A = adapter_pb2
INITIATOR, TARGET = event_pb2.MODE_INITIATOR, event_pb2.MODE_TARGET
REPLY_LIMIT_S = LIMIT_S


def address(target=1, lun=0, host="agent-1", **members):
    return A.DeviceAddress(host=host, target=target, lun=lun, bus=-1, **members)


def describe(result):
    return f"{A.Errno.Name(result.error)} {A.EinvalDetail.Name(result.detail)} {result.message!r}"


def check_result(result, error="ERRNO_OK", detail="EINVAL_DETAIL_NONE", *texts):
    """Full names: "ERRNO_EINVAL", "EINVAL_DETAIL_MODE"; short ones will do: "EINVAL", "MODE"."""
    error = error if error.startswith("ERRNO_") else "ERRNO_" + error
    detail = detail if detail.startswith("EINVAL_DETAIL_") else "EINVAL_DETAIL_" + detail
    check(result.error == A.Errno.Value(error) and result.detail == A.EinvalDetail.Value(detail),
          f"got {describe(result)}, expected {error} {detail}")
    for text in texts:
        check(text in result.message, f"no {text!r} in the message {result.message!r}")
    return result


class AdapterStream:
    def __init__(self, broker, channel=None, limit_s=None):
        self.outgoing = queue.Queue()
        self.results, self.events, self.data, self.order = {}, [], [], []
        self.next_id = 0
        self.error = None
        self.changed = threading.Condition()
        self.is_over = False
        self.reading = threading.Event()  # cleared: a slow reader
        self.reading.set()
        open_stream = (channel or broker.channel()).stream_stream(
            "/sensebus.v1.Adapter/Open", response_deserializer=self.decode,
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString())
        self.call = open_stream(iter(self.outgoing.get, None), timeout=limit_s or 10 * LIMIT_S)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def decode(self, data):
        return A.AdapterReply.FromString(data)

    def _read(self):
        try:
            for reply in self.call:
                self.reading.wait()
                body = reply.WhichOneof("body")
                with self.changed:
                    self.order.append(body)
                    if body == "result":
                        check(reply.result.id not in self.results, f"request {reply.result.id} was answered twice")
                        self.results[reply.result.id] = reply.result
                        self.order[-1] = ("result", reply.result.id)
                    elif body == "event":
                        self.events.append(reply.event)
                    else:
                        self.data.append(reply.target_data)
                    self.changed.notify_all()
        except grpc.RpcError as error:
            self.error = error
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    # asking
    def send(self, **members):
        """Queue a request and give its id: send(halt=A.Halt(...))."""
        if "id" not in members:
            self.next_id += 1
            members["id"] = self.next_id
        members.setdefault("version", 1)
        self.outgoing.put(A.AdapterRequest(**members))
        return members["id"]

    def send_bytes(self, data):
        """A message as these bytes, whatever they are."""
        self.outgoing.put(data)

    def wait(self, condition, what="the stream", limit_s=None):
        with self.changed:
            ok = self.changed.wait_for(lambda: condition() or self.is_over, limit_s or REPLY_LIMIT_S)
        if not condition():
            raise AssertionError(f"waited in vain for {what}" if not ok else
                                 f"the stream ended ({self.error and self.error.code()}: "
                                 f"{self.error and self.error.details()}) before {what}")

    def result(self, request_id, limit_s=None):
        self.wait(lambda: request_id in self.results, f"the result of request {request_id}", limit_s)
        return self.results[request_id]

    def ask(self, **members):
        return self.result(self.send(**members))

    def wait_events(self, n):
        self.wait(lambda: len(self.events) >= n, f"{n} events (there are {len(self.events)})")
        return self.events

    def wait_data(self, n):
        self.wait(lambda: len(self.data) >= n, f"{n} buffers")
        return self.data

    def wait_code(self, name, n=1):
        """The n-th event with that code."""
        code = code_pb2.Code.Value(name)
        self.wait(lambda: sum(e.record.code == code for e in self.events) >= n, f"{n} × {name}")
        return [e for e in self.events if e.record.code == code][n - 1]

    def forget(self):
        """Results and events so far, for those who ask very often."""
        with self.changed:
            self.results.clear()
            self.events.clear()
            self.order.clear()

    def answered(self, request_id):
        with self.changed:
            return request_id in self.results

    # the operations
    def start(self, target=1, lun=0, shared=False, **members):
        return self.ask(start=A.Start(address=address(target, lun, **members), shared=shared))

    def started(self, target=1, lun=0, shared=False, **members):
        return check_result(self.start(target, lun, shared, **members)).start

    def start_target(self, initiator="iqn.2026-01.example:remote", adapter="tgt1", buffer_bytes=4096, n_buffers=16,
                     correlator=b"", host="agent-1", **members):
        return self.ask(start_target=A.StartTarget(
            address=A.DeviceAddress(host=host, adapter=adapter, target_name=initiator, bus=-1, target=-1, **members),
            buffer_bytes=buffer_bytes, n_buffers=n_buffers, correlator=correlator))

    def register(self, session, mode=INITIATOR, **correlator):
        return self.ask(event=A.RegisterEvent(session_id=session.session_id, mode=mode, **correlator))

    def stop(self, session):
        return self.ask(stop=A.Stop(session_id=session.session_id))

    def halt(self, session, **members):
        return self.ask(halt=A.Halt(session_id=session.session_id), **members)

    def reset(self, session, lun_reset=True, **members):
        return self.ask(reset=A.Reset(session_id=session.session_id, lun_reset=lun_reset), **members)

    def inquiry(self, session, **members):
        return self.ask(inquiry=A.Inquiry(session_id=session.session_id, **members))

    def test_unit_ready(self, session, **members):
        return self.ask(test_unit_ready=A.TestUnitReady(session_id=session.session_id, **members))

    def tm_event(self, session, peek=False):
        return self.ask(tm_event=A.TmEvent(session_id=session.session_id, peek=peek))

    def pending(self, session):
        return check_result(self.tm_event(session, peek=True)).tm_event.events

    def wait_pri(self, *sessions, timeout_ms=-1):
        return self.ask(wait_pri=A.WaitPri(session_ids=[s.session_id for s in sessions], timeout_ms=timeout_ms))

    # what ListSessions says
    def listed(self, broker, session):
        sessions = adapter_pb2_grpc.AdapterStub(broker.channel()).ListSessions(A.ListSessionsRequest(),
                                                                               timeout=LIMIT_S).sessions
        return next((s for s in sessions if s.session_id == session.session_id), None)

    # the end
    def half_close(self):
        self.outgoing.put(None)

    def until_end(self):
        self.wait(lambda: self.is_over, "the end of the stream")
        if self.error is not None:
            raise self.error

    def cancel(self):
        self.reading.set()
        self.call.cancel()
        self.outgoing.put(None)
        with self.changed:
            self.changed.wait_for(lambda: self.is_over, LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cancel()


# ---------------------------------------------------------------------------------------------------- a whole face

ADAPTERS = {"iscsi0": ALL_CAPABILITIES}
DEVICES = [make_device(1, 0), make_device(1, 1), make_device(2, 0)]
ME = "iqn.2026-01.example:me"
READER_ON_UNIX = 'principals: [{identity: "unix:uid=*", name: watcher, roles: [reader]}]\n'
KERNEL_ON_UNIX = 'principals: [{identity: "unix:uid=*", name: kernel-2, roles: [kernel]}]\n'


@contextlib.contextmanager
def face(*options, adapters=None, devices=DEVICES, own_ids=None, **broker_options):
    """A broker with one agent and one stream. The agent may be silent for as long as a test takes."""
    with Broker("--agent-heartbeat", "1h", *options, **broker_options) as broker, \
            FakeAgent(broker, adapters=adapters or ADAPTERS, devices=devices, own_ids=own_ids) as agent:
        wait_until(lambda: broker.admin().ListDevices(admin_pb2.ListDevicesRequest(), timeout=LIMIT_S).devices,
                   "the inventory")
        with AdapterStream(broker) as stream:
            yield broker, agent, stream


@contextlib.contextmanager
def unix_face(config, **options):
    """The same with a second way in, a Unix socket, whose principal is another: gives its channel too."""
    folder = tempfile.mkdtemp(prefix="sensebus-unix.")
    path = f"unix:{folder}/broker.sock"
    try:
        with face("--listen", path, config=config, **options) as (broker, agent, stream):
            channel = grpc.insecure_channel(path, options=[("grpc.use_local_subchannel_pool", 1)])
            broker.channels.append(channel)
            yield broker, agent, stream, channel
    finally:
        shutil.rmtree(folder, ignore_errors=True)
