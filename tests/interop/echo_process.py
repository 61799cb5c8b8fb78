# SPDX-License-Identifier: Apache-2.0
"""Starts the echo server for one test, and makes sure at the end that it left in good order."""
import contextlib
import signal
import subprocess


@contextlib.contextmanager
def echo_server(program, *options, ends_by_itself=False):
    """The process, with .address set. It must exit with 0: sanitizers and leaks would say otherwise."""
    process = subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening "), f"the server said {line!r}"
        process.address = line.split()[1]
        yield process
        if not ends_by_itself:
            process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=60)
        assert status == 0, f"the server ended with {status}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def run(tests):
    """Run every function, print how it went, return the exit status."""
    failed = []
    for test in tests:
        try:
            test()
            print(f"ok   {test.__name__}", flush=True)
        except Exception as error:  # a failed test must not stop the others
            failed.append(test.__name__)
            print(f"FAIL {test.__name__}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(tests) - len(failed)} of {len(tests)} passed", flush=True)
    return 1 if failed else 0
