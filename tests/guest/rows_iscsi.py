# SPDX-License-Identifier: Apache-2.0
"""The kernel's iSCSI initiator: its session to LIO, and what sensebus-target says to it."""
from contextlib import contextmanager

from lio import LIO_NAME, LIO_PORTAL, LIO_TPG, OwnTarget, initiator, make_iscsi, remove_iscsi, session_state
from row import MayBeTold, Told, row
from world import put, run, until


def remote(code):
    """What the agent tells of the same as the host of the target."""
    return Told(code, mode="MODE_TARGET")


@row("session-started", "the initiator logs in")
def session_started(world):
    make_iscsi()
    with initiator(world) as iscsi:
        yield
        disk = world.new_disk(lambda: iscsi.login(LIO_NAME, LIO_PORTAL))
        yield [Told("ADAPTER_ADDED", f"host{disk.host}", seen_by=("uevent",)),
               Told("SESSION_STARTED", f"host{disk.host}", seen_by=("login-response",)),
               Told("TARGET_ONLINE", f"host{disk.host}:0:0"), Told("DEVICE_ADDED", disk, seen_by=("uevent",)),
               remote("REMOTE_LOGIN")]
    remove_iscsi()


@row("session-lost", "the target drops the connection, and is there again")
def session_lost(world):
    make_iscsi()
    with initiator(world) as iscsi:
        disk = world.new_disk(lambda: iscsi.login(LIO_NAME, LIO_PORTAL))
        disk.ask()
        yield
        put(f"{LIO_TPG}/enable", 0)
        until(lambda: session_state() != "LOGGED_IN", "the loss")
        put(f"{LIO_TPG}/enable", 1)
        until(lambda: session_state() == "LOGGED_IN", "the session", 60)
        yield [Told("NEXUS_LOST", f"host{disk.host}", seen_by=("CONN_ERROR",)),
               Told("NEXUS_RESTORED", f"host{disk.host}", seen_by=("login-response",)),
               remote("REMOTE_LOGOUT"), remote("REMOTE_LOGIN")]
    remove_iscsi()


@row("session-stopped", "the initiator logs out")
def session_stopped(world):
    make_iscsi()
    with initiator(world) as iscsi:
        disk = world.new_disk(lambda: iscsi.login(LIO_NAME, LIO_PORTAL))
        disk.ask()
        yield
        iscsi.logout(LIO_NAME, LIO_PORTAL)
        yield [Told("SESSION_STOPPED", f"host{disk.host}"), Told("DEVICE_REMOVED", disk, seen_by=("uevent",)),
               Told("TARGET_REMOVED", f"host{disk.host}:0:0"), Told("ADAPTER_REMOVED", f"host{disk.host}"),
               remote("REMOTE_LOGOUT")]
    remove_iscsi()


@contextmanager
def own_target(world):
    """A disk of sensebus-target's, on the kernel's initiator, that has nothing to say any more."""
    target = OwnTarget(world)
    try:
        with initiator(world) as iscsi:
            disk = world.new_disk(lambda: iscsi.login(OwnTarget.NAME, target.portal))
            disk.ask()
            target.tell("expect", "pending", 0, "60s")
            yield target, disk
    finally:
        target.stop()


def told_by_target(name, cause, code, verb, sense, seen_by):
    @row(name, cause)
    def body(world):
        with own_target(world) as (target, disk):
            yield
            target.tell(*verb)
            disk.ask()
            yield [Told(code, disk, sense=sense, seen_by=seen_by)]
    return body


told_by_target("inquiry-changed", "INQUIRY data changed (3F/03)", "INQUIRY_DATA_CHANGED", ("attention", 0, "3f/03"),
               "6/3f/03", ("unit-attention", "SDEV_UA"))
told_by_target("thin-threshold", "a thin unit is nearly full (38/07)", "PROVISIONING_THRESHOLD", ("thin", 0), "6/38/07",
               ("unit-attention", "SDEV_UA"))
told_by_target("failure-predicted", "a disk predicts its failure (5D/00)", "FAILURE_PREDICTED", ("attention", 0, "5d/00"),
               "6/5d/00", ("unit-attention",))
told_by_target("reservations-preempted", "another initiator takes a reservation (2A/03)", "RESERVATIONS_PREEMPTED",
               ("attention", 0, "2a/03"), "6/2a/03", ("unit-attention",))
told_by_target("async-sense", "Asynchronous Message 0, which carries sense (3F/0E)", "REPORTED_LUNS_CHANGED",
               ("async", 0, 0, "6/3f/0e"), "6/3f/0e", ("async-message",))


@row("thin-filled", "writes fill a thin unit up to its threshold (38/07)")
def thin_filled(world):
    with own_target(world) as (target, disk):
        target.tell("thin", 0, 2048)
        yield
        run("dd", "if=/dev/zero", f"of={disk.node}", "bs=64k", "count=16", "oflag=direct")
        disk.ask()
        yield [Told("PROVISIONING_THRESHOLD", disk, sense="6/38/07", seen_by=("unit-attention", "SDEV_UA"))]


def async_message(name, cause, code, verb, again=False):
    """`again`: iscsid drops the session and logs in again, without an error that the kernel could tell."""
    @row(name, cause)
    def body(world):
        with own_target(world) as (target, disk):
            yield
            target.tell(*verb)
            host = f"host{disk.host}"
            back = [MayBeTold("NEXUS_LOST", host), Told("NEXUS_RESTORED", host, seen_by=("login-response",))]
            yield [Told(code, host, seen_by=("async-message",))] + (back if again else [])
    return body


async_message("async-negotiate", "Asynchronous Message 4, a wish to negotiate", "NEGOTIATION_REQUESTED", ("async", 4),
              again=True)
async_message("async-vendor", "Asynchronous Message 255, of the vendor", "VENDOR_SPECIFIC",
              ("async", 255, 0, "raw:c0ffee", 1, 2, 3))
