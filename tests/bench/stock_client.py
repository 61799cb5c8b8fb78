# SPDX-License-Identifier: Apache-2.0
"""A subscriber as anybody would write it: Debian's python3-grpcio with generated messages. Run as a program it is the
subscriber; imported it starts one."""
import os
import shutil
import subprocess
import sys
import threading
import time

import machine
from load import Failed

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
PROTO = os.path.join(SOURCE, "proto")
NEEDED = [os.path.join("sensebus", "v1", name + ".proto") for name in ("code", "event", "events")]
LIMIT_S = 180


class ReaderMissing(Exception):
    """There is no stock client here; the text says why."""


class ReaderFailed(Failed):
    """There is one, and it does not do its work."""


class Reader:
    def __init__(self, system, n):
        stubs = os.path.join(system.folder, "stubs")
        os.makedirs(stubs)
        if not shutil.which("protoc"):
            raise ReaderMissing("protoc is not installed (protobuf-compiler)")
        subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={stubs}", *NEEDED], check=True, timeout=LIMIT_S)
        if subprocess.run([PYTHON, "-c", "import grpc"], capture_output=True, timeout=LIMIT_S, check=False).returncode:
            raise ReaderMissing("python3-grpcio is not installed")
        _, cores = machine.cores()
        self.process = subprocess.Popen([PYTHON, os.path.abspath(__file__), stubs, f"127.0.0.1:{system.port}", str(n)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                                        preexec_fn=machine.place(cores, system.realtime))
        if self.process.stdout.readline().strip() != "ready":
            raise ReaderFailed("the stock client does not start")

    @property
    def pid(self):
        return self.process.pid

    def run(self, at_end):
        """(seconds, CPU seconds of the client) from the call to the last record; calls `at_end` while it still is."""
        guard = threading.Timer(LIMIT_S, self.process.kill)
        guard.start()
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        out = self.process.stdout.readline()
        guard.cancel()
        if not out.strip():
            raise ReaderFailed("the stock client did not come to its end")
        at_end()
        self.process.communicate()
        return tuple(map(float, out.split()))


def read(stubs, address, n):
    sys.path.insert(0, stubs)
    import grpc
    from sensebus.v1 import events_pb2

    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 8 << 20)])
    grpc.channel_ready_future(channel).result(30)
    subscribe = channel.unary_stream("/sensebus.v1.Events/Subscribe",
                                     request_serializer=events_pb2.SubscribeRequest.SerializeToString,
                                     response_deserializer=events_pb2.EventBatch.FromString)
    print("ready", flush=True)
    sys.stdin.readline()
    begin, begin_cpu, got = time.monotonic(), time.process_time(), 0
    for batch in subscribe(events_pb2.SubscribeRequest(oldest=events_pb2.StartOldest())):
        got += len(batch.events)
        if got >= n:
            break
    print(time.monotonic() - begin, time.process_time() - begin_cpu, flush=True)
    sys.stdin.readline()  # until nobody wants to know more
    os._exit(0)


if __name__ == "__main__":
    read(sys.argv[1], sys.argv[2], int(sys.argv[3]))
