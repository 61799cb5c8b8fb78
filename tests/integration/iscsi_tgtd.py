#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""iscsi_driver against a real target, tgtd."""
import sys
import unittest

import tgtd
from iscsi_session import TUR, WAIT_S, Driver

SKIPPED = 77


class Real(unittest.TestCase):
    def setUp(self):
        self.target = tgtd.Tgtd()
        self.addCleanup(self.target.stop)

    def dial(self, *options, target=None):
        driver = Driver(self.target.portal, *options, target=target or self.target.name)
        self.addCleanup(lambda: self.assertEqual(driver.close(), 0, driver.seen))
        return driver

    def assert_sense(self, result, key, asc, ascq):
        self.assertEqual(result["status"], "02", result)
        data = bytes.fromhex(result["sense"])
        self.assertEqual((data[2] & 15, data[12], data[13]), (key, asc, ascq), result)

    def drain(self, driver, lun):
        """TEST UNIT READY until there is no unit attention; what was there as (asc, ascq)."""
        seen = []
        while True:
            result = driver.run(lun=lun)
            data = bytes.fromhex(result["sense"])
            if result["status"] != "02" or data[2] & 15 != 6:
                return seen, result["status"]
            seen.append((data[12], data[13]))

    def test_the_unit_attention_after_login_is_seen_on_each_lun(self):
        for digest in ((), ("--digest",)):
            driver = self.dial(*digest)
            driver.next("login")
            for lun in (0, 1):
                seen, status = self.drain(driver, lun)
                self.assertEqual((seen, status), ([(0x29, 0)], "00"))

    def test_a_new_lun_is_told_on_the_others(self):
        driver = self.dial("--digest")
        driver.next("login")
        self.drain(driver, 1)
        self.target.add_lun(2)
        driver.command(lun=1, cdb=TUR)
        line = driver.next("sense")
        self.assertEqual((line["lun"], line["opcode"]), ("0001000000000000", "0"))
        self.assert_sense(driver.next("result"), 6, 0x3F, 0x0E)
        listed = driver.run(cdb="a00000000000000010000000", in_bytes=4096)["data"]
        self.assertEqual(listed[16:], "0000000000000000" "0001000000000000" "0002000000000000")
        self.target.remove_lun(2)
        self.assert_sense(driver.run(lun=1), 6, 0x3F, 0x0E)

    def test_a_unit_taken_offline_is_not_ready(self):
        driver = self.dial()
        driver.next("login")
        self.drain(driver, 1)
        self.target.set_online(1, False)
        self.assert_sense(driver.run(lun=1), 2, 0x04, 0x01)
        self.target.set_online(1, True)
        self.assertEqual(driver.run(lun=1)["status"], "00")

    def test_a_dropped_connection(self):
        driver = self.dial()
        driver.next("login")
        self.target.drop_connections()
        self.assertEqual(driver.next("end")["kind"], "CLOSED")

    def test_a_killed_target(self):
        driver = self.dial()
        driver.next("login")
        self.target.kill()
        self.assertIn(driver.next("end")["kind"], ("CLOSED", "RESET"))

    def test_nop_out_is_answered(self):
        driver = self.dial("--nop-ms", "50")
        driver.next("login")
        self.drain(driver, 1)
        self.assertEqual(driver.run(lun=1)["status"], "00")

    def test_chap(self):
        self.target.add_chap("host", "secret-of-host")
        self.dial("--chap", "host:secret-of-host").next("login")
        end = self.dial("--chap", "host:wrong-secret").next("end")
        self.assertEqual((end["kind"], end["status"]), ("LOGIN_STATUS", "0201"))
        end = self.dial().next("end")
        self.assertIn(end["kind"], ("LOGIN_STATUS", "LOGIN_FAILED"))

    def test_mutual_chap(self):
        self.target.add_chap("host", "secret-of-host")
        self.target.add_chap("target", "secret-of-target", outgoing=True)
        self.dial("--chap", "host:secret-of-host", "--mutual", "target:secret-of-target").next("login")
        end = self.dial("--chap", "host:secret-of-host", "--mutual", "target:wrong-secret").next("end")
        self.assertEqual(end["kind"], "LOGIN_FAILED", end)

    def test_unknown_target(self):
        end = self.dial(target="iqn.2026-01.org.sensebus:absent").next("end")
        self.assertEqual((end["kind"], end["status"]), ("LOGIN_STATUS", "0203"))

    def test_discovery(self):
        driver = Driver(self.target.portal, "--discover", str(WAIT_S * 1000), target=None)
        self.addCleanup(lambda: self.assertEqual(driver.close(), 0, driver.seen))
        self.assertEqual(driver.next("target"), {"name": self.target.name, "portal": self.target.portal + ",1"})
        self.assertEqual(driver.next("discovered")["n"], "1")

    def test_logout(self):
        driver = self.dial()
        driver.next("login")
        driver.say("logout")
        end = driver.next("end")
        self.assertEqual(end["kind"], "CLOSED")
        self.assertIn("logged out", end["text"])


if __name__ == "__main__":
    if not tgtd.available():
        print("SKIPPED: tgtd is not installed")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
