# SPDX-License-Identifier: Apache-2.0
"""The kernel's own target, seen from both of its ends: tcm_loop's disk, and what the target itself tells."""
import os

from lio import BACKSTORE, CONFIG, LOOP, load, make_loop, remove_loop
from row import Told, row
from world import put, run

TCMU = f"{CONFIG}/core/user_0/u0"


def loop_disk(world):
    return world.new_disk(make_loop)


@row("alua", "a target port group goes to active/non-optimized (2A/06)")
def alua(world):
    disk = loop_disk(world)
    disk.ask()
    yield
    put(f"{BACKSTORE}/alua/default_tg_pt_gp/alua_access_state", 1)
    disk.ask()
    yield [Told("ALUA_STATE_CHANGED", disk, sense="6/2a/06", seen_by=("unit-attention", "SDEV_UA"))]
    remove_loop()


@row("target-sense", "a target of this host answers a command with sense (target_cmd_complete)")
def target_sense(world):
    disk = loop_disk(world)
    disk.ask()
    yield
    put(f"{BACKSTORE}/alua/default_tg_pt_gp/alua_access_state", 1)
    disk.ask()
    yield [Told("ALUA_STATE_CHANGED", disk, sense="6/2a/06"),
           Told("ALUA_STATE_CHANGED", sense="6/2a/06", seen_by=("target_cmd_complete",), mode="MODE_TARGET")]
    remove_loop()


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
