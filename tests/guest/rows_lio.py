# SPDX-License-Identifier: Apache-2.0
"""The kernel's own target, seen from both of its ends: tcm_loop's disk, and what the target itself tells."""
import os

from lio import (CONFIG, INITIATOR, LIO_NAME, LIO_PORTAL, LOOP, LOOP_INITIATOR, LOOP_NAME, change_alua, initiator, load,
                 make_iscsi, make_loop, remove_iscsi, remove_loop, told_by_lio)
from row import Told, row
from world import put, run

TCMU = f"{CONFIG}/core/user_0/u0"


def loop_disk(world):
    return world.new_disk(make_loop)


def seen_from_both_ends(disk, target, initiator):
    """Two events, never one: what the disk told its initiator, and what the target told."""
    return [Told("ALUA_STATE_CHANGED", disk, sense="6/2a/06", seen_by=("unit-attention", "SDEV_UA")),
            told_by_lio("ALUA_STATE_CHANGED", "6/2a/06", target, initiator)]


@row("alua", "a target port group goes to active/non-optimized (2A/06)")
def alua(world):
    disk = loop_disk(world)
    disk.ask()
    yield
    change_alua()
    disk.ask()
    yield seen_from_both_ends(disk, LOOP_NAME, LOOP_INITIATOR)
    remove_loop()


@row("target-sense", "a target of this host answers a command with sense (target_cmd_complete), over iSCSI")
def target_sense(world):
    make_iscsi()
    with initiator(world) as iscsi:
        disk = world.new_disk(lambda: iscsi.login(LIO_NAME, LIO_PORTAL))
        disk.ask()
        yield
        change_alua()
        disk.ask()
        yield seen_from_both_ends(disk, LIO_NAME, INITIATOR)
    remove_iscsi()


@row("transport", "the transport to a disk is disrupted (result 000e0000)")
def transport(world):
    disk = loop_disk(world)
    disk.ask()
    yield
    put(f"{LOOP}/tpgt_1/transport_status", "offline")
    disk.read()
    put(f"{LOOP}/tpgt_1/transport_status", "online")
    yield [Told("TARGET_OFFLINE", disk, seen_by=("host-status",))]
    remove_loop()


@row("tcmu", "a unit of a target in user space (TCMU) comes, grows and goes")
def tcmu(world):
    load("target_core_user")
    yield
    os.makedirs(TCMU)
    put(f"{TCMU}/control", "dev_config=foo/bar,dev_size=1048576,nl_reply_supported=-1")
    put(f"{TCMU}/enable", 1)
    put(f"{TCMU}/attrib/dev_size", 2097152)
    os.rmdir(TCMU)
    yield [Told("DEVICE_ADDED", seen_by=("ADDED_DEVICE",), mode="MODE_TARGET"),
           Told("CAPACITY_CHANGED", seen_by=("RECONFIG_DEVICE",), mode="MODE_TARGET"),
           Told("DEVICE_REMOVED", seen_by=("REMOVED_DEVICE",), mode="MODE_TARGET")]
    os.rmdir(os.path.dirname(TCMU))
    run("modprobe", "-r", "target_core_user", check=False)
