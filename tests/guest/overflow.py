# SPDX-License-Identifier: Apache-2.0
"""In the guest: 500 logical units come and half of them go while the agent cannot read, and its receive buffer is as small as
it is without CAP_NET_ADMIN. Then what subscribers were told must agree with sysfs, and a gap must say why.

    sh tests/guest/run.sh --command '/usr/bin/python3 tests/guest/overflow.py'
"""
import os
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from world import BUILD, Daemon, Failed, Watch, devices, get, put, run, until  # noqa: E402

UNITS = 250
TARGETS = 2
GONE = {"DEVICE_REMOVED": True, "DEVICE_ADDED": False}
OFFLINE = {"DEVICE_OFFLINE": True, "DEVICE_ONLINE": False}


def place(event):
    address = event["address"]
    return (f"{address['adapter'].removeprefix('host')}:{address.get('bus', 0)}:{address.get('target', 0)}:"
            f"{address.get('lun', 0)}")


def fold(initial, events):
    """The devices that are there, and those of them that are offline, as the events tell it."""
    there, offline = set(initial), set()
    for _, event in events:
        code = event["code"]
        if code in GONE:
            (there.discard if GONE[code] else there.add)(place(event))
            offline.discard(place(event))
        elif code in OFFLINE:
            (offline.add if OFFLINE[code] else offline.discard)(place(event))
    return there, offline


def states():
    return {name for name in devices() if get(f"/sys/class/scsi_device/{name}/device/state") == "offline"}


def main():
    directory = tempfile.mkdtemp(prefix="guest.")
    os.chmod(directory, 0o777)
    run("modprobe", "scsi_mod")
    initial = devices()
    broker = Daemon(f"{BUILD}/broker/sensebus-broker", "--data", f"{directory}/log", "--listen", "127.0.0.1:0",
                    "--port-file", f"{directory}/port", "--plaintext-roles", "all", log=f"{directory}/broker.log")
    until(lambda: os.path.exists(f"{directory}/port") and get(f"{directory}/port"), "the broker")
    address = get(f"{directory}/port").split()[0]
    watch = Watch(address)
    agent = Daemon("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all",
                   "--inh-caps=-all", f"{BUILD}/agent/sensebus-agent", "--broker", address, "--host", "guest", "--state",
                   f"{directory}/state", "--source-poll", "5s", log=f"{directory}/agent.log")
    try:
        until(lambda: any(e["code"] == "AGENT_CONNECTED" for _, e in watch.events), "the agent", 60)
        time.sleep(2)
        agent.process.send_signal(signal.SIGSTOP)
        run("modprobe", "scsi_debug", f"max_luns={UNITS}", f"num_tgts={TARGETS}", "dev_size_mb=8")
        until(lambda: len(devices() - initial) == UNITS * TARGETS, "the units", 200)
        for index, name in enumerate(sorted(devices() - initial)):
            if index % 2:
                put(f"/sys/class/scsi_device/{name}/device/delete", 1)
            elif index % 10 == 0:
                put(f"/sys/class/scsi_device/{name}/device/state", "offline")
        agent.process.send_signal(signal.SIGCONT)
        begin = time.time()
        try:
            until(lambda: fold(initial, watch.events) == (devices(), states()), "what was told to agree with sysfs", 120)
        except Failed:
            there, offline = fold(initial, watch.events)
            print(f"told, not there: {sorted(there - devices())[:9]}; there, not told: {sorted(devices() - there)[:9]}; "
                  f"offline told {len(offline)}, are {len(states())}")
            raise
        lost = [e for _, e in watch.events if e["code"] == "EVENTS_LOST"]
        synthetic = sum(bool(e.get("synthetic")) for _, e in watch.events)
        print(f"after {time.time() - begin:.1f} s: {len(devices())} units are there, {len(states())} of them offline, as told; "
              f"{len(watch.events)} events, {synthetic} found by comparison; lost: "
              f"{'; '.join(e['loss']['reason'] for e in lost) or 'nothing'}")
        if not lost or lost[0]["loss"]["stage"] != "LOSS_STAGE_KERNEL":
            raise Failed("no gap was told")
    finally:
        watch.stop()
        agent.stop()
        broker.stop()
        print(get(agent.log)[-600:])


if __name__ == "__main__":
    main()
