# SPDX-License-Identifier: Apache-2.0
"""Who takes part: four agents and twenty subscribers of all policies, on seven hosts.

Members of a subscriber's plan:

    filter, policy, lag_limit, mark, start, cursor, resume_at_oldest      as in SubscribeRequest (filters as in matching.py)
    slow_s      sleeps about so long after each batch
    naps        chance of a sleep of `nap_s` after a batch: stuck meanwhile
    churns      begins a new stream every few seconds
    tourist     the same, and asks for something else each time
    watch       is the program `sensebus watch`
    auditor     reads everything, is harmed by nothing: what it got is the log
"""
from agent import designator

AGENTS = ["agent-1", "agent-2", "agent-3", "agent-4"]
HUB = 0  # where the broker is; players on other hosts can be cut off
LUN_RESET, DEVICE_ADDED = 203, 401
CODES = [201, 202, 203, 204, 301, 302, 401, 402, 407, 408]  # none of the broker's own

SUBSCRIBERS = {
    "auditor": {"auditor": True, "start": ("oldest",), "resume_at_oldest": True},
    "all": {"start": ("oldest",), "resume_at_oldest": True},
    "watch": {"watch": True},
    "host": {"filter": {"hosts": ["agent-2"]}, "mark": 250, "start": ("oldest",)},
    "hosts": {"filter": {"hosts": ["*-3", "agent-?"], "exclude": [{"hosts": ["agent-1"]}]}, "mark": 300},
    "codes": {"filter": {"codes": [LUN_RESET, DEVICE_ADDED]}, "mark": 200, "start": ("oldest",)},
    "category": {"filter": {"categories": [4], "exclude": [{"codes": [DEVICE_ADDED]}, {"hosts": ["agent-4"]}]},
                 "mark": 400},
    "wwid": {"filter": {"designators": [designator(7), designator(11)]}, "mark": 200, "start": ("oldest",)},
    "wwids": {"filter": {"designators": ["naa.600140500*"]}, "mark": 300, "resume_at_oldest": True},
    "unit": {"filter": {"codes": CODES, "addresses": [{"adapter": "iscsi1", "target": 1, "lun": 2}]}, "mark": 200,
             "start": ("oldest",)},
    "units": {"filter": {"codes": CODES, "addresses": [{"target": -1, "lun": 1, "lun_last": 3}]}, "mark": 500},
    "severe": {"filter": {"minimum_severity": 4, "any_aix_bits": 4}, "mark": 250},
    "lagging": {"slow_s": 0.02, "naps": 0.02, "nap_s": (15, 45), "resume_at_oldest": True, "start": ("oldest",)},
    "cursor": {"cursor": "storm-all", "start": ("oldest",)},
    "cursor-host": {"cursor": "storm.host", "filter": {"hosts": ["agent-3"]}, "mark": 250, "resume_at_oldest": True},
    "live": {"policy": "LIVE", "lag_limit": 150, "slow_s": 0.02, "naps": 0.01, "nap_s": (1, 6)},
    "live-codes": {"policy": "LIVE", "lag_limit": 100, "filter": {"codes": [LUN_RESET, 202, 204]}, "mark": 200,
                   "slow_s": 0.05, "naps": 0.02, "nap_s": (1, 12)},
    "disconnected": {"policy": "DISCONNECT", "lag_limit": 300, "slow_s": 0.02, "naps": 0.01, "nap_s": (1, 5)},
    "snapshots": {"start": ("snapshot",), "churns": True, "filter": {"hosts": ["agent-*"], "codes": CODES}, "mark": 300},
    "tourist": {"tourist": True, "mark": 200},
    "tourist-live": {"tourist": True, "policy": "LIVE", "lag_limit": 200, "mark": 100},
}
