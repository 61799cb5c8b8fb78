#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of corpus/target_order: orders right and wrong. Needs the Python stubs of a build:
make_target_order_corpus.py BUILD"""
import os
import sys

sys.path.insert(0, os.path.join(sys.argv[1], "tests/python"))
from sensebus.target.v1 import target_pb2 as t

HERE = os.path.dirname(os.path.abspath(__file__))
ORDERS = {
    "line": t.Order(line="resize 1 4096"), "line_wrong": t.Order(line="resize x"), "add": t.Order(add=t.AddUnit(lun=2, blocks=9)),
    "remove": t.Order(remove=t.RemoveUnit(lun=16384)), "resize": t.Order(resize=t.Resize(lun=1, blocks=1 << 63)),
    "protect": t.Order(protect=t.Protect(on=True)), "offline": t.Order(offline=t.Offline(lun=1)),
    "alua": t.Order(alua=t.SetAccess(lun=1, state=6)), "health": t.Order(health=t.Health(asc=0x5d, ascq=0x10)),
    "thin": t.Order(thin=t.Thin(blocks=7)), "reset": t.Order(reset=t.Reset(all=True)), "preempt": t.Order(preempt=t.Preempt(lun=1)),
    "attention": t.Order(attention=t.Attention(lun=1, asc=0x2a, ascq=9)),
    "sense": t.Order(sense=t.Sense(lun=1, codes=t.SenseCodes(key=6, asc=0x29))), "sense_raw": t.Order(sense=t.Sense(raw=b"\x70" * 253)),
    "raise": t.Order(raise_code=t.RaiseCode(code="LUN_RESET")),
    "async": t.Order(async_message=t.AsyncMessage(event=255, raw=b"\xc0\xfe", parameters=[1, 2, 65536])),
    "async_sense": t.Order(async_message=t.AsyncMessage(sense=b"\x70", parameters=[1, 2, 3])), "ping": t.Order(ping=t.Ping()),
    "reject": t.Order(reject=t.Reject(reason=4)), "drop": t.Order(drop=t.Drop(how=t.DROP_HOW_FIN)),
    "reboot": t.Order(reboot=t.Reboot(down_ms=0)), "hang": t.Order(hang=t.Hang(on=True)), "slow": t.Order(slow=t.Slow(ms=1 << 40)),
    "garbage": t.Order(garbage=t.Garbage(bytes=b"\0\xff")), "skew": t.Order(skew_statsn=t.SkewStatSn(skew=7)),
    "refuse": t.Order(refuse=t.Refuse(status=0x301)), "redirect": t.Order(redirect=t.Redirect(address="127.0.0.1:1")),
    "expect": t.Order(expect=t.Expect(pending=0, within_ms=9)), "empty": t.Order(),
}
SEEDS = {name: order.SerializeToString() for name, order in ORDERS.items()}
SEEDS |= {"unknown_member": b"\xba\x3e\x00", "two_orders": SEEDS["resize"] + SEEDS["alua"], "not_utf8": b"\x0a\x02\xff\xfe",
          "cut": SEEDS["async"][:5], "unknown_state": b"\x3a\x02\x10\x63"}

os.makedirs(os.path.join(HERE, "corpus/target_order"), exist_ok=True)
for name, seed in SEEDS.items():
    with open(os.path.join(HERE, "corpus/target_order", name), "wb") as file:
        file.write(seed)
