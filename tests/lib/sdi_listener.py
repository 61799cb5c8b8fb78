# SPDX-License-Identifier: Apache-2.0
"""One Sdi.Listen on a stock client, and the other calls of that service."""
from sensebus_testlib import *  # noqa: F401,F403
from sensebus.v1 import sdi_pb2, sdi_pb2_grpc

OK, ERR = sdi_pb2.SDI_RETURN_OK, sdi_pb2.SDI_RETURN_ERR
FIRSTOPEN, LASTCLOSE, LASTCLOSE_ERR = 1, 2, 3
PRIVATE = 0x100


def adr(controller=-1, bus=-1, target=-1, lun=-1, host=""):
    return sdi_pb2.ScsiAdr(controller=controller, bus=bus, target=target, lun=lun, host=host)


class Listener:
    """A Listen stream. Calls are answered with what `verdict(call)` says; None: not at all."""

    def __init__(self, broker, verdict=lambda call: OK, channel=None):
        self.verdict = verdict
        self.outgoing = queue.Queue()
        self.calls, self.results = [], {}
        self.next_id = 0
        self.error = None
        self.ended = threading.Event()
        self.call = sdi_pb2_grpc.SdiStub(channel or broker.channel()).Listen(iter(self.outgoing.get, None))
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for reply in self.call:
                if reply.HasField("result"):
                    self.results[reply.result.id] = reply.result
                    continue
                self.calls.append(reply.call)
                verdict = self.verdict(reply.call)
                if verdict is not None:
                    self.send(verdict=sdi_pb2.Verdict(call_id=reply.call.call_id, verdict=verdict))
        except grpc.RpcError as error:
            self.error = error
        self.ended.set()

    def send(self, **operation):
        self.next_id += 1
        self.outgoing.put(sdi_pb2.ListenRequest(id=self.next_id, **operation))
        return self.next_id

    def ask(self, **operation):
        """Send, and wait for the answer."""
        request = self.send(**operation)
        wait_until(lambda: request in self.results or self.ended.is_set(), "a result")
        check(request in self.results, f"the stream ended: {self.error}")
        return self.results[request]

    def add(self, event_type=PRIVATE, **members):
        result = self.ask(add=sdi_pb2.AddEvent(event_type=event_type, **members))
        check_equal(result.result, OK, result.message)
        return result.handler_id

    def refused(self, *texts, **operation):
        result = self.ask(**operation)
        check_equal(result.result, ERR, "result")
        for text in texts:
            check(text in result.message, f"no {text!r} in {result.message!r}")

    def close(self):
        self.outgoing.put(None)  # half-close
        check(self.ended.wait(LIMIT_S), "the stream does not end")

    def cancel(self):
        self.call.cancel()
        self.outgoing.put(None)
        self.ended.wait(LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cancel()


def notify(broker, event_type=PRIVATE, timeout=LIMIT_S, **members):
    stub = sdi_pb2_grpc.SdiStub(broker.channel())
    return stub.NotifyEvent(sdi_pb2.NotifyEventRequest(event_type=event_type, **members), timeout=timeout)


def check_answer(response, result, n_called, n_failed):
    check_equal((response.result, response.n_called, response.n_failed), (result, n_called, n_failed),
                "(result, called, failed)")


def xaen(broker, event, hba=0, scsi_id=-1, lun=-1, bus=-1, timeout=LIMIT_S, **members):
    stub = sdi_pb2_grpc.SdiStub(broker.channel())
    return stub.Xaen(sdi_pb2.XaenRequest(event=event, hba=hba, scsi_id=scsi_id, lun=lun, bus=bus, **members),
                     timeout=timeout).n_told
