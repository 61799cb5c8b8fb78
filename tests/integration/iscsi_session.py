#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""iscsi_driver (agent/iscsi on libiscsi) against the scripted target: what a target may do, right or wrong."""
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ports import reserve_address  # noqa: E402
from scripted_target import (LOGOUT, NOP_OUT, NO_TAG, SCSI_COMMAND, TASK_MANAGEMENT, WAIT_S, ScriptedTarget, sense,
                             sense_segment, text_of)

DRIVER = os.environ.get("ISCSI_DRIVER") or os.path.join(os.environ["SENSEBUS_BUILD"], "tests/integration/iscsi_driver")
TUR = "000000000000"
POWER_ON = sense(6, 0x29, 0x00).hex()


class Driver:
    """The driver as a child process; lines become (kind, {key: value})."""

    def __init__(self, portal, *options, target="iqn.2026-01.org.sensebus:scripted"):
        patience = ["--connect-ms", str(WAIT_S * 1000), "--nop-timeout-ms", str(WAIT_S * 1000)]
        command = DRIVER.split() + ["--portal", portal] + (["--target", target] if target else []) + patience + list(options)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines, self.seen = queue.Queue(), []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def next(self, kind, limit_s=WAIT_S):
        """The next line of this kind; others are kept in `seen`."""
        while True:
            try:
                line = self.lines.get(timeout=limit_s)
            except queue.Empty:
                raise AssertionError(f"no line '{kind}' in {limit_s} s; seen: {self.seen}") from None
            if line is None:
                raise AssertionError(f"driver ended before '{kind}'; seen: {self.seen}")
            self.seen.append(line)
            name, _, rest = line.partition(" ")
            if name == kind:
                head, text_mark, text = rest.partition("text=")
                fields = dict(item.split("=", 1) for item in head.split() if "=" in item)
                if text_mark:
                    fields["text"] = text
                return fields

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def command(self, lun=0, cdb=TUR, in_bytes=0, timeout_ms=WAIT_S * 1000):
        self.say(f"command {lun} {cdb} {in_bytes} {timeout_ms}")

    def run(self, *arguments, **named):
        self.command(*arguments, **named)
        return self.next("result")

    def close(self):
        """End; the exit status tells whether anything was left behind."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            status = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.reader.join()
        self.process.stdout.close()
        return status


class Case(unittest.TestCase):
    options = ()

    def start(self, scripted, *options, **named):
        driver = Driver(scripted.portal, *self.options, *options, **named)
        self.addCleanup(self.end, driver)
        return driver

    def end(self, driver):
        self.assertEqual(driver.close(), 0, f"driver left something behind: {driver.seen}")

    def open(self, *options, **settings):
        target = ScriptedTarget(**settings)
        self.addCleanup(self.finish, target)
        driver = self.start(target, *options)
        driver.next("login")
        return target, driver

    def finish(self, target):
        target.stop()
        self.assertEqual(target.errors, [])
        for pdu in target.pdus:
            if pdu["full_feature"]:
                self.assertLessEqual(pdu["expstatsn"], pdu["statsn"], "acknowledged what was never sent")

    def assert_end(self, driver, kind, **fields):
        end = driver.next("end")
        self.assertEqual(end["kind"], kind, end)
        for key, value in fields.items():
            self.assertEqual(end[key], value, end)
        return end


class Asynchronous(Case):
    """Every event reaches the owner, and none brings the session down by itself."""

    def next_pdu_acknowledges(self, target, statsn, since):
        pdu = target.wait_pdu(lambda p: p["full_feature"], since, "next PDU of the initiator")
        self.assertEqual(pdu["expstatsn"], statsn + 1, pdu)
        return pdu

    def test_survives_and_acknowledges_every_harmless_event(self):
        target, driver = self.open()
        for event in (0, 5, 6, 7, 248, 255):
            with self.subTest(event=event):
                since = len(target.pdus)
                statsn = target.raise_async(event, parameters=(1, 2, 3), vcode=9, lun=1,
                                            data=sense(6, 0x3F, 0x0E) if event == 0 else None)
                line = driver.next("async")
                self.assertEqual(line["event"], str(event))
                self.assertEqual(line["vcode"], "9")
                self.assertEqual(line["parameters"], "1,2,3")
                self.assertEqual(line["lun"], "0001000000000000")
                self.assertEqual(line["sense"], sense(6, 0x3F, 0x0E).hex() if event == 0 else "")
                pdu = self.next_pdu_acknowledges(target, statsn, since)
                self.assertEqual(pdu["opcode"], NOP_OUT)
                self.assertEqual(driver.run()["status"], "00")
        self.assertEqual(target.state()["sessions"], 1)

    def test_events_2_and_3_wait_for_the_target_to_close(self):
        for event in (2, 3):
            with self.subTest(event=event):
                target, driver = self.open()
                since = len(target.pdus)
                statsn = target.raise_async(event, parameters=(0, 1, 2))
                driver.next("async")
                self.assertEqual(driver.run()["status"], "00")
                self.next_pdu_acknowledges(target, statsn, since)
                target.fin()
                self.assert_end(driver, "CLOSED")

    def test_events_1_and_4_log_out(self):
        for event in (1, 4):
            with self.subTest(event=event):
                target, driver = self.open()
                since = len(target.pdus)
                statsn = target.raise_async(event, parameters=(0, 0, 5))
                driver.next("async")
                pdu = self.next_pdu_acknowledges(target, statsn, since)
                self.assertEqual(pdu["opcode"], LOGOUT)
                self.assert_end(driver, "CLOSED")

    def test_an_event_right_behind_the_login_answer_is_acted_on(self):
        for event, opcode in ((255, NOP_OUT), (1, LOGOUT)):
            with self.subTest(event=event):
                target = ScriptedTarget(header_digest=False)
                self.addCleanup(self.finish, target)
                target.set(async_at_login=event)
                driver = self.start(target)
                self.assertEqual(driver.next("async")["event"], str(event))
                driver.next("login")
                pdu = target.wait_pdu(lambda p: p["full_feature"], what="first PDU after login")
                self.assertEqual((pdu["opcode"], pdu["expstatsn"]), (opcode, pdu["statsn"]))

    def test_odd_data_segments_are_no_danger(self):
        target, driver = self.open()
        for segment, expected in ((b"", ""), (b"\0", ""), (b"\0\x12", ""), (b"\xff\xff\x70\0\6", "700006"),
                                  (b"\0\2\x70\0vendor", "7000")):
            target.raise_async(0, segment=segment)
            self.assertEqual(driver.next("async")["sense"], expected)
        self.assertEqual(driver.run()["status"], "00")

    def test_a_burst_is_seen_whole_and_in_order(self):
        target, driver = self.open()
        for number in range(500):
            statsn = target.raise_async(248 + number % 8, parameters=(number, 0, 0))
        for number in range(500):
            self.assertEqual(driver.next("async")["parameters"], f"{number},0,0")
        target.wait_pdu(lambda p: p["expstatsn"] > statsn, what="acknowledgement of the last")
        self.assertEqual(driver.run()["status"], "00")

    def test_events_between_answers_are_acknowledged_exactly(self):
        target, driver = self.open()
        for number in range(50):
            statsn = target.raise_async(255)
            driver.next("async")
            self.assertEqual(driver.run(lun=number % 2)["status"], "00")
            target.wait_pdu(lambda p: p["opcode"] == SCSI_COMMAND and p["expstatsn"] > statsn, what="acknowledgement")


class AsynchronousWithDigest(Asynchronous):
    options = ("--digest",)

    def test_header_digest_is_in_force(self):
        target, _ = self.open()
        self.assertTrue(target.session().header_digest)


class Commands(Case):
    def test_data_arrives_however_it_is_cut(self):
        target, driver = self.open()
        result = driver.run(cdb="a00000000000000010000000", in_bytes=4096)
        self.assertEqual((result["end"], result["status"]), ("DONE", "00"))
        self.assertEqual(result["data"], "0000001000000000" "0000000000000000" "0001000000000000")
        data = bytes(range(256)) * 8
        for script in ({}, {"split": True}, {"step": 100}, {"step": 1000, "split": True}):
            target.script(data_in=data.hex(), **script)
            self.assertEqual(driver.run(cdb="120000080000", in_bytes=2048)["data"], data.hex())

    def test_high_luns_are_addressed_flat(self):
        target, driver = self.open(luns=[0, 300])
        target.queue_sense(300, bytes.fromhex(POWER_ON))
        driver.command(lun=300)
        self.assertEqual(driver.next("sense")["lun"], "412c000000000000")
        self.assertEqual(driver.next("result")["status"], "02")

    def test_unit_attentions_are_not_swallowed(self):
        target = ScriptedTarget()
        self.addCleanup(self.finish, target)
        for lun in (0, 1):
            target.queue_sense(lun, sense(6, 0x29, 0x00))
            target.queue_sense(lun, sense(6, 0x3F, 0x0E))
        driver = self.start(target)
        driver.next("login")
        for lun in (0, 1):
            for asc in (0x29, 0x3F):
                driver.command(lun=lun)
                line = driver.next("sense")
                self.assertEqual(line["lun"], f"{lun:04x}000000000000")
                self.assertEqual(line["opcode"], "0")
                self.assertEqual(int(line["sense"][24:26], 16), asc)
                result = driver.next("result")
                self.assertEqual((result["status"], result["sense"]), ("02", line["sense"]))
            self.assertEqual(driver.run(lun=lun)["status"], "00")

    def test_malformed_sense_is_no_danger(self):
        target, driver = self.open()
        long_descriptor = bytes([0x72, 6, 0x29, 0, 0, 0, 0, 0xFF, 0, 0x0A])
        for segment, expected in ((b"", ""), (b"\0", ""), (b"\0\0", ""), (b"\0\x12", ""), (b"\0\1\x70", "70"),
                                  (b"\xff\xff\x70\0\6", "700006"), (sense_segment(long_descriptor), long_descriptor.hex()),
                                  (sense_segment(bytes(300)), bytes(255).hex())):
            with self.subTest(segment=segment[:20]):
                target.queue_segment(0, segment)
                result = driver.run()
                self.assertEqual((result["end"], result["status"], result["sense"]), ("DONE", "02", expected))
        self.assertEqual(driver.run()["status"], "00")

    def test_other_statuses_are_told(self):
        target, driver = self.open()
        for status in (0x04, 0x08, 0x18, 0x28, 0x30, 0x40, 0x77, 0xFF):
            target.script(status=status)
            result = driver.run()
            self.assertEqual((result["end"], result["status"]), ("DONE", f"{status:02x}"))
        target.script(response=1)
        self.assertEqual(driver.run()["end"], "REFUSED")
        self.assertEqual(driver.run()["status"], "00")

    def test_a_late_answer_is_still_heard(self):
        target, driver = self.open()
        target.script(drop=True, remember=True)
        self.assertEqual(driver.run(lun=1, timeout_ms=100)["end"], "TIMEOUT")
        target.answer_late(status=2, segment=sense_segment(sense(6, 0x29, 0)).hex())
        line = driver.next("sense")
        self.assertEqual((line["lun"], line["opcode"], line["sense"]), ("0001000000000000", "0", POWER_ON))
        self.assertEqual(driver.run()["status"], "00")
        self.assertNotIn("result number=1 end=DONE", "\n".join(driver.seen))

    def test_an_answer_nobody_asked_for_is_reported_without_lun(self):
        target, driver = self.open()
        target.send_response(0xDEAD, status=2, segment=sense_segment(sense(6, 0x29, 0)))
        line = driver.next("sense")
        self.assertEqual((line["lun"], line["opcode"]), ("f" * 16, "-1"))
        for opcode in range(0x20, 0x27):
            if opcode not in (0x23, 0x25):
                target.send_response(0xDEAD, opcode=opcode)
        self.assertEqual(driver.run()["status"], "00")

    def test_more_commands_than_allowed_are_refused(self):
        target, driver = self.open()
        target.set(hang=True)
        for _ in range(257):
            driver.command()
        answers = [driver.next("command")["rc"] for _ in range(257)]
        self.assertEqual(answers, ["0"] * 256 + ["ENOBUFS"])
        target.fin()
        for _ in range(256):
            self.assertEqual(driver.next("result")["end"], "GONE")
        self.assert_end(driver, "CLOSED")

    def test_commands_out_of_range_are_refused(self):
        _, driver = self.open()
        for lun, cdb, in_bytes in ((16384, TUR, 0), (0, "00", 0), (0, TUR, 1 << 24)):
            driver.command(lun=lun, cdb=cdb, in_bytes=in_bytes)
            self.assertEqual(driver.next("command")["rc"], "EINVAL")

    def test_a_rejected_command_is_answered_and_the_session_goes_on(self):
        target, driver = self.open()
        target.script(reject=0x05)
        driver.command()
        self.assertEqual(driver.next("reject")["reason"], "05")
        self.assertEqual(driver.next("result")["end"], "REFUSED")
        self.assertEqual(driver.run()["status"], "00")

    def test_a_reject_of_nothing_is_reported(self):
        target, driver = self.open()
        target.reject(reason=4, itt=0x4711)
        self.assertEqual(driver.next("reject")["reason"], "04")
        self.assertEqual(driver.run()["status"], "00")
        target.set(reject_nop=True)
        target.raise_async(255)
        self.assertEqual(driver.next("reject")["reason"], "04")
        self.assertEqual(driver.run()["status"], "00")

    def test_pings_are_answered(self):
        target, driver = self.open()
        for _ in range(3):
            since = len(target.pdus)
            target.ping()
            pdu = target.wait_pdu(lambda p: p["opcode"] == NOP_OUT and p["ttt"] == 0x1234, since)
            self.assertEqual((pdu["itt"], pdu["expstatsn"]), (NO_TAG, pdu["statsn"]))
        self.assertEqual(driver.run()["status"], "00")

    def test_small_gaps_in_statsn_are_forgiven(self):
        target, driver = self.open()
        target.set(statsn_skew=5)
        self.assertEqual(driver.run()["status"], "00")
        self.assertEqual(driver.run()["status"], "00")
        self.assertEqual(target.pdus[-1]["expstatsn"], target.pdus[-1]["statsn"])


class TaskManagement(Case):
    """ABORT TASK SET, LUN RESET and TARGET WARM RESET end what they say, and nothing else."""

    def manage(self, driver, function, lun=1, timeout_ms=WAIT_S * 1000):
        driver.say(f"manage {function} {lun} {timeout_ms}")
        return driver.next("managed")

    def results(self, driver, n):
        """`n` results, by number."""
        lines = [driver.next("result") for _ in range(n)]
        return {line["number"]: line["end"] for line in lines}

    def held_back(self, target, driver, *luns):
        """Commands to these units, which the target does not answer."""
        for lun in luns:
            target.script(drop=True, remember=True)
            driver.command(lun=lun)
        target.wait(lambda: len(target.remembered) == len(luns), "the commands")

    def test_ends_the_commands_it_reaches_and_the_session_goes_on(self):
        for function, ended in ((2, {"1": "ABORTED", "2": "ABORTED"}), (5, {"1": "ABORTED", "2": "ABORTED"}),
                                (6, {"1": "ABORTED", "2": "ABORTED", "3": "ABORTED"})):
            with self.subTest(function=function):
                target, driver = self.open()
                self.held_back(target, driver, 1, 1, 0)
                driver.say(f"manage {function} 1 {WAIT_S * 1000}")
                self.assertEqual(self.results(driver, len(ended)), ended)
                self.assertEqual(driver.next("managed"), {"end": "ANSWERED", "response": "0"})
                pdu = target.wait_pdu(lambda p: p["opcode"] == TASK_MANAGEMENT)
                self.assertEqual((pdu["immediate"], pdu["lun"], bytes.fromhex(pdu["header"])[1]), (True, 1, 0x80 | function))
                since = driver.run(lun=0)["status"], driver.run(lun=1)["status"]
                self.assertIn(since, [("00", "00"), ("00", "02"), ("02", "02")])
                self.assertEqual(target.state()["sessions"], 1)
                if len(ended) == 2:
                    target.answer_late()
                    self.assertEqual(driver.next("result")["number"], "3", "the other unit's command goes on")

    def test_the_sense_of_an_aborted_command_is_not_lost(self):
        target, driver = self.open()
        self.held_back(target, driver, 1)
        self.assertEqual(self.manage(driver, 2)["response"], "0")
        target.answer_late(status=2, segment=sense_segment(sense(6, 0x2A, 0x01)).hex())
        line = driver.next("sense")
        self.assertEqual((line["lun"], line["opcode"], line["sense"]), ("0001000000000000", "0", sense(6, 0x2A, 0x01).hex()))
        self.assertEqual(driver.run()["status"], "00")

    def test_every_response_code_is_told_and_ends_nothing_unless_complete(self):
        for response in (1, 2, 3, 4, 5, 6, 77, 255):
            with self.subTest(response=response):
                target, driver = self.open()
                target.set(task_response=response)
                self.held_back(target, driver, 1)
                self.assertEqual(self.manage(driver, 5), {"end": "ANSWERED", "response": str(response)})
                target.answer_late()
                self.assertEqual(driver.next("result")["end"], "DONE")

    def test_a_reject_is_told(self):
        target, driver = self.open()
        target.set(reject_task=True)
        self.assertEqual(self.manage(driver, 6)["end"], "REJECTED")
        self.assertEqual(driver.run()["status"], "00")

    def test_no_answer_in_time_and_more_than_allowed(self):
        target, driver = self.open("--nop-ms", "200")
        target.set(hang_tasks=True)
        for _ in range(16):
            self.assertEqual(self.manage(driver, 2, timeout_ms=20)["end"], "TIMEOUT")
        driver.say("manage 2 1 20")
        self.assertEqual(driver.next("manage")["rc"], "ENOBUFS")
        self.assertEqual(driver.run()["status"], "00", "the session lives")

    def test_the_end_of_the_session_ends_it(self):
        target, driver = self.open()
        target.set(hang_tasks=True)
        self.held_back(target, driver, 1)
        driver.say(f"manage 5 1 {WAIT_S * 1000}")
        target.wait_pdu(lambda p: p["opcode"] == TASK_MANAGEMENT)
        target.fin()
        self.assertEqual(driver.next("result")["end"], "GONE")
        self.assertEqual(driver.next("managed")["end"], "GONE")
        self.assert_end(driver, "CLOSED")
        driver.say("manage 5 1 1")
        self.assertEqual(driver.next("manage")["rc"], "ENOTCONN")


class TaskManagementWithDigest(TaskManagement):
    options = ("--digest",)


class CommandsWithDigest(Commands):
    options = ("--digest",)


class Endings(Case):
    def test_fin(self):
        target, driver = self.open()
        target.fin()
        self.assert_end(driver, "CLOSED", error="0")

    def test_rst(self):
        target, driver = self.open()
        target.rst()
        self.assert_end(driver, "RESET", error="ECONNRESET")

    def test_open_commands_are_answered_before_the_end(self):
        target, driver = self.open()
        target.set(hang=True)
        since = len(target.pdus)
        driver.command()
        target.wait_pdu(lambda p: p["opcode"] == SCSI_COMMAND, since)
        target.fin()
        self.assertEqual(driver.next("result")["end"], "GONE")
        self.assert_end(driver, "CLOSED")
        driver.command()
        self.assertEqual(driver.next("command")["rc"], "ENOTCONN")

    def test_answers_before_the_end_count(self):
        target, driver = self.open()
        target.script(drop=True, remember=True)
        driver.command()
        target.wait(lambda: target.remembered, "command held back")
        target.answer_late()
        target.fin()
        self.assertEqual(driver.next("result")["end"], "DONE")
        self.assert_end(driver, "CLOSED")

    def test_a_hung_target_is_found(self):
        target, driver = self.open("--nop-ms", "200", "--nop-timeout-ms", "3000")
        target.set(hang=True)
        self.assertEqual(driver.run(timeout_ms=100)["end"], "TIMEOUT")
        self.assert_end(driver, "SILENT", error="ETIMEDOUT")

    def test_a_quiet_target_that_answers_is_left_alone(self):
        target, driver = self.open("--nop-ms", "50")
        target.wait(lambda: sum(p["opcode"] == NOP_OUT for p in target.pdus) >= 10, "ten NOP-Outs")
        self.assertEqual(driver.run()["status"], "00")

    def test_a_target_that_answers_nothing_but_nops_is_found(self):
        target, driver = self.open("--nop-ms", "200")
        for _ in range(64):
            target.script(drop=True)
            driver.command(timeout_ms=50)
        self.assert_end(driver, "SILENT")

    def test_garbage(self):
        for garbage in (b"HTTP/1.0 400 Bad Request\r\n" * 4, b"\xff" * 4096, bytes(200)):
            with self.subTest(garbage=garbage[:8]):
                target, driver = self.open()
                target.send_raw(garbage)
                self.assert_end(driver, "PROTOCOL")

    def test_huge_data_segment(self):
        target, driver = self.open()
        target.send_huge()
        self.assertIn("longer", self.assert_end(driver, "PROTOCOL")["text"])

    def test_bad_header_digest(self):
        target, driver = self.open("--digest")
        target.send_bad_digest()
        self.assertIn("digest", self.assert_end(driver, "PROTOCOL")["text"])

    def test_absurd_statsn(self):
        target, driver = self.open()
        target.set(statsn_skew=1000000)
        driver.command()
        self.assertEqual(driver.next("result")["end"], "GONE")
        self.assertIn("StatSN", self.assert_end(driver, "PROTOCOL")["text"])

    def test_r2t_for_a_read(self):
        target, driver = self.open()
        target.script(drop=True)
        since = len(target.pdus)
        driver.command()
        target.wait_pdu(lambda p: p["opcode"] == SCSI_COMMAND, since)
        target.send_r2t()
        self.assertIn("0x31", self.assert_end(driver, "PROTOCOL")["text"])

    def test_data_beyond_what_was_asked_for(self):
        for script, word in (({"more": True}, "beyond"), ({"offset": 4}, "offset")):
            with self.subTest(script=script):
                target, driver = self.open()
                target.script(data_in="00" * 64, **script)
                driver.command(cdb="120000002400", in_bytes=36)
                self.assertIn(word, self.assert_end(driver, "PROTOCOL")["text"])

    def test_logout(self):
        target, driver = self.open()
        driver.say("logout")
        target.wait_pdu(lambda p: p["opcode"] == LOGOUT)
        self.assertIn("logged out", self.assert_end(driver, "CLOSED")["text"])

    def test_logout_that_is_not_answered(self):
        target, driver = self.open("--nop-timeout-ms", "200")
        target.set(hang=True)
        driver.say("logout")
        self.assert_end(driver, "SILENT")

    def test_closing_at_any_moment_leaves_nothing(self):
        target = ScriptedTarget()
        self.addCleanup(target.stop)
        self.start(target).close()
        target.set(hang_login=True)
        driver = self.start(target)
        target.wait(lambda: any(p["opcode"] == 3 and p["connection"] == len(target.connections) - 1 for p in target.pdus),
                    "login")
        driver.close()
        target.unset("hang_login")
        driver = self.start(target)
        driver.next("login")
        target.set(hang=True)
        driver.command()
        driver.close()


class Logins(Case):
    def try_login(self, *options, settings=None, **target_settings):
        target = ScriptedTarget(**target_settings)
        self.addCleanup(self.finish, target)
        target.set(**(settings or {}))
        return target, self.start(target, *options)

    def test_chap(self):
        _, driver = self.try_login("--chap", "host:secret-of-host", chap=("host", "secret-of-host"))
        driver.next("login")

    def test_wrong_chap_secret(self):
        _, driver = self.try_login("--chap", "host:wrong", chap=("host", "secret-of-host"))
        end = self.assert_end(driver, "LOGIN_STATUS", status="0201")
        self.assertIn("authentication failed", end["text"])

    def test_missing_chap_secret(self):
        _, driver = self.try_login(chap=("host", "secret-of-host"))
        self.assert_end(driver, "LOGIN_STATUS", status="0201")

    def test_mutual_chap(self):
        _, driver = self.try_login("--chap", "host:secret-of-host", "--mutual", "target:secret-of-target",
                                   chap=("host", "secret-of-host"), mutual=("target", "secret-of-target"))
        driver.next("login")

    def test_target_with_the_wrong_secret(self):
        _, driver = self.try_login("--chap", "host:secret-of-host", "--mutual", "target:secret-of-target",
                                   chap=("host", "secret-of-host"), mutual=("target", "another"))
        self.assertIn("CHAP_R", self.assert_end(driver, "LOGIN_FAILED")["text"])

    def test_target_that_does_not_prove_itself(self):
        options = ("--chap", "host:secret-of-host", "--mutual", "target:secret-of-target")
        _, driver = self.try_login(*options, chap=("host", "secret-of-host"))
        self.assert_end(driver, "LOGIN_FAILED")
        _, driver = self.try_login(*options)
        self.assertIn("CHAP_N", self.assert_end(driver, "LOGIN_FAILED")["text"])

    def test_redirection(self):
        _, driver = self.try_login(settings={"refuse_login": [1, 1], "moved_to": "192.0.2.1:3260,1"})
        self.assert_end(driver, "LOGIN_STATUS", status="0101", moved_to="192.0.2.1:3260,1")

    def test_status_classes(self):
        for status in ([2, 3], [3, 1], [4, 9], [255, 255]):
            _, driver = self.try_login(settings={"refuse_login": status})
            self.assert_end(driver, "LOGIN_STATUS", status="%02x%02x" % tuple(status))

    def test_unknown_target(self):
        target = ScriptedTarget()
        self.addCleanup(self.finish, target)
        driver = self.start(target, target="iqn.2026-01.org.sensebus:another")
        self.assertIn("target not found", self.assert_end(driver, "LOGIN_STATUS", status="0203")["text"])

    def test_garbage_in_the_place_of_an_answer(self):
        for garbage in (b"SSH-2.0-OpenSSH_9.2p1\r\n" * 8, bytes(512), b"\x23" + b"\xff" * 511, b"\x3f" + bytes(47)):
            _, driver = self.try_login(settings={"login_garbage": garbage.hex()})
            self.assert_end(driver, "LOGIN_FAILED")

    def test_no_answer(self):
        _, driver = self.try_login("--connect-ms", "3000", settings={"hang_login": True})
        self.assert_end(driver, "LOGIN_FAILED", error="ETIMEDOUT")

    def test_nothing_listens(self):
        portal = reserve_address()
        driver = Driver(portal)
        self.addCleanup(self.end, driver)
        end = self.assert_end(driver, "UNREACHABLE", error="ECONNREFUSED")
        self.assertIn(portal, end["text"])

    def test_a_name_that_does_not_exist(self):
        name = "x" * 64 + ".invalid"  # too long a label (RFC 1035 section 2.3.4): no resolver is asked, which may know all
        driver = Driver(f"{name}:3260")
        self.addCleanup(self.end, driver)
        self.assertIn(name, self.assert_end(driver, "UNREACHABLE")["text"])

    def test_a_name_is_resolved(self):
        target = ScriptedTarget()
        self.addCleanup(self.finish, target)
        driver = Driver("localhost:" + target.portal.split(":")[1])
        self.addCleanup(self.end, driver)
        self.assertEqual(driver.next("login")["portal"], target.portal)

    def test_ipv6(self):
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                self.skipTest("no IPv6")
        driver = Driver("[::1]:1", "--connect-ms", "5000")
        self.addCleanup(self.end, driver)
        self.assertIn("[::1]:1", self.assert_end(driver, "UNREACHABLE")["text"])

    def test_portals_that_are_none(self):
        for portal in ("", ":3260", "host:99999999999", "host:", "host:port", "host:99999", "[::1", "[::1]x", "fe80::1"):
            driver = Driver(portal)
            self.assertEqual(driver.next("open")["rc"], "EINVAL", portal)
            self.end(driver)

    def test_header_digest_refused_by_the_target(self):
        target, driver = self.try_login("--digest", header_digest=False)
        driver.next("login")
        self.assertFalse(target.session().header_digest)
        self.assertEqual(driver.run()["status"], "00")


class Discovery(Case):
    def discover(self, *options, settings=None, limit_ms=WAIT_S * 1000, **target_settings):
        target = ScriptedTarget(**target_settings)
        self.addCleanup(self.finish, target)
        target.set(**(settings or {}))
        driver = Driver(target.portal, "--discover", str(limit_ms), *options, target=None)
        self.addCleanup(self.end, driver)
        return target, driver

    def test_lists_targets(self):
        text = text_of([("TargetName", "iqn.a"), ("TargetAddress", "192.0.2.1:3260,1"),
                        ("TargetAddress", "[2001:db8::1]:3260,2"), ("TargetName", "iqn.b")])
        target, driver = self.discover(settings={"text": text.hex()})
        self.assertEqual([driver.next("target") for _ in range(3)],
                         [{"name": "iqn.a", "portal": "192.0.2.1:3260,1"},
                          {"name": "iqn.a", "portal": "[2001:db8::1]:3260,2"},
                          {"name": "iqn.b", "portal": target.portal}])
        self.assertEqual(driver.next("discovered")["status"], "0")

    def test_with_chap(self):
        target, driver = self.discover("--chap", "host:secret-of-host", chap=("host", "secret-of-host"))
        self.assertEqual(driver.next("target")["name"], target.name)

    def test_with_the_wrong_secret(self):
        _, driver = self.discover("--chap", "host:wrong", chap=("host", "secret-of-host"))
        self.assertEqual(driver.next("discovered")["status"], "EACCES")

    def test_nothing_to_list(self):
        _, driver = self.discover(settings={"text": ""})
        self.assertEqual(driver.next("discovered")["n"], "0")

    def test_a_server_that_never_answers(self):
        for setting in ("hang_login", "hang_text", "hang"):
            _, driver = self.discover(settings={setting: True}, limit_ms=400)
            self.assertEqual(driver.next("discovered")["status"], "ETIMEDOUT")

    def test_a_server_that_accepts_and_says_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            driver = Driver("127.0.0.1:%d" % listener.getsockname()[1], "--discover", "400", target=None)
            self.addCleanup(self.end, driver)
            self.assertEqual(driver.next("discovered")["status"], "ETIMEDOUT")

    def test_lists_that_are_none(self):
        for text in (b"TargetName=iqn.a", b"TargetAddress=1.2.3.4:1,1\0", b"TargetName=\0", b"nonsense\0"):
            _, driver = self.discover(settings={"text": text.hex()})
            self.assertEqual(driver.next("discovered")["status"], "EPROTO", text)

    def test_a_list_in_several_parts_is_refused(self):
        _, driver = self.discover(settings={"text_flags": 0x40})
        self.assertEqual(driver.next("discovered")["status"], "EMSGSIZE")


class Control(unittest.TestCase):
    """The scripted target as a program of its own, for tests that are not in Python."""

    def test_the_control_socket_does_what_the_class_does(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "control")
            script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripted_target.py")
            process = subprocess.Popen([sys.executable, script, "--control", path, "--lun", "3"], stdout=subprocess.PIPE,
                                       text=True)
            self.addCleanup(process.stdout.close)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            portal = process.stdout.readline().split()[1]
            driver = Driver(portal)
            self.addCleanup(driver.close)
            driver.next("login")
            with socket.socket(socket.AF_UNIX) as control:
                control.connect(path)
                with control.makefile("rw") as lines:

                    def do(method, **arguments):
                        lines.write(json.dumps({"do": method, **arguments}) + "\n")
                        lines.flush()
                        return json.loads(lines.readline())

                    self.assertEqual(do("queue_sense", lun=3, data=POWER_ON), {"ok": None})
                    self.assertEqual(driver.run(lun=3)["sense"], POWER_ON)
                    self.assertIn("ok", do("raise_async", event=255, parameters=[7, 8, 9]))
                    self.assertEqual(driver.next("async")["parameters"], "7,8,9")
                    self.assertEqual(do("state")["ok"]["luns"], [3])
                    self.assertIn("ValueError", do("stop")["error"])
                    self.assertIn("KeyError", do("queue_sense", lun=9, data="")["error"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"] + sys.argv[1:])
