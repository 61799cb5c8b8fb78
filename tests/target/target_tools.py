#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sensebus-target with libiscsi's own tools, which know nothing of it: discovery, inquiry, CHAP, the conformance suite."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from target_program import PATH, Target
from sensebus_testlib import check, check_equal, run_tests, LIMIT_S

SKIPPED = 77
TOOLS = ("iscsi-ls", "iscsi-inq", "iscsi-readcapacity16", "iscsi-swp", "iscsi-test-cu")


def run(*command, expected=0):
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S, errors="replace")
    check((result.returncode == 0) == (expected == 0),
          f"{command}: {result.returncode} {result.stdout} {result.stderr}")
    return result.stdout


def test_discovery_lists_the_target_and_its_units():
    with Target(units=3) as target:
        target.tell("add", 300)
        listed = run("iscsi-ls", "-s", f"iscsi://{target.portal}/")
        check(f"Target:{target.target_name} Portal:{target.portal},1" in listed, listed)
        check_equal(re.findall(r"Lun:(\d+)", listed)[:3], ["0", "1", "2"])
        check_equal(len(re.findall(r"Lun:", listed)), 4, "one above 255")


def test_identity_of_units():
    with Target("--blocks", "4096", units=2) as target:
        check("Vendor:SENSEBUS" in run("iscsi-inq", target.url(0)))
        for page in (0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2):
            run("iscsi-inq", "-e", "1", "-c", str(page), target.url(0))
        serials = {run("iscsi-inq", "-e", "1", "-c", "128", target.url(lun)) for lun in (0, 1)}
        check_equal(len(serials), 2, "serial numbers")
        check("ADDRESS:4095" in run("iscsi-readcapacity16", target.url(1)))


# What of libiscsi's conformance suite must run and pass; all that is not here is skipped for commands that are not there.
MUST_PASS = {
    "Inquiry": "Standard AllocLength EVPD BlockLimits MandatoryVPDSBC SupportedVPD VersionDescriptors",
    "Mandatory": "MandatorySBC", "ModeSense6": "AllPages Control Control-D_SENSE Control-SWP Residuals",
    "NoMedia": "NoMediaSBC", "PrinReadKeys": "Simple Truncate", "PrinServiceactionRange": "Range",
    "PrinReportCapabilities": "Simple", "ProutRegister": "Simple",
    "ProutReserve": """Simple AccessEA AccessWE AccessEARO AccessWERO AccessEAAR AccessWEAR OwnershipEA OwnershipWE OwnershipEARO
        OwnershipWERO OwnershipEAAR OwnershipWEAR""",
    "ProutClear": "Simple", "ProutPreempt": "RemoveRegistration", "Read6": "Simple BeyondEol",
    "Read10": "Simple BeyondEol ZeroBlocks ReadProtect Async", "Read12": "Simple BeyondEol ZeroBlocks ReadProtect",
    "Read16": "Simple BeyondEol ZeroBlocks ReadProtect", "ReadCapacity10": "Simple",
    "ReadCapacity16": "Simple Alloclen PI Support", "TestUnitReady": "Simple", "Unmap": "Simple VPD ZeroBlocks",
    "Write10": "Simple BeyondEol ZeroBlocks WriteProtect Async", "Write12": "Simple BeyondEol ZeroBlocks WriteProtect",
    "Write16": "Simple BeyondEol ZeroBlocks WriteProtect", "iSCSIcmdsn": "iSCSICmdSnTooHigh iSCSICmdSnTooLow",
    "iSCSIdatasn": "iSCSIDataSnInvalid",
    "iSCSIResiduals": """Read10Invalid Read10Residuals Read12Residuals Read16Residuals Write10Residuals Write12Residuals
        Write16Residuals""",
    "iSCSITMF": "AbortTaskSimpleAsync LUNResetSimpleAsync",
}


def conformance(*options):
    """Names of the tests that ran to their end and were not skipped. None of all fails."""
    out = run("iscsi-test-cu", "--dataloss", "--fail", "--verbose", *options)
    tests = re.search(r"tests +(\d+) +(\d+) +(\d+) +(\d+)", out)
    check(tests and int(tests.group(1)) > 0 and tests.group(4) == "0", out[-3000:])
    ran, suite = set(), None
    for block in re.split(r"(?m)^(?=Suite: |  Test: )", out):
        name = re.match(r"(Suite|  Test): (\S+)", block)
        if name and name.group(1) == "Suite":
            suite = name.group(2)
        elif name and "SKIPPED" not in block:
            ran.add(f"{suite}.{name.group(2)}")
    return ran


def test_conformance_suite():
    with Target(units=2) as target:
        wanted = {f"{suite}.{name}" for suite, names in MUST_PASS.items() for name in names.split()}
        check_equal(sorted(wanted - conformance("-t", "ALL", target.url(1))), [], "tests that did not run")
        check_equal(conformance("-t", "ALL.MultipathIO", target.url(1), target.url(1)) >= {"MultipathIO.Simple",
                                                                                          "MultipathIO.Reset"}, True, "two paths")


def test_write_protection():
    with Target() as target:
        check("SWP:0" in run("iscsi-swp", target.url(0)))
        run("iscsi-swp", "--swp=on", target.url(0))
        check("SWP:1" in run("iscsi-swp", target.url(0)))
        check("protected=1" in target.tell("state"))
        conformance("-t", "ALL.ReadOnly", target.url(0))


def test_chap_decides_who_comes_in():
    with tempfile.NamedTemporaryFile("w") as secrets:
        secrets.write("* host secret-of-host target secret-of-target\n")
        secrets.flush()
        with Target("--chap", secrets.name) as target:
            at = target.portal + "/" + target.target_name + "/0"
            run("iscsi-inq", f"iscsi://host%secret-of-host@{at}")
            mutual = "?target_user=target&target_password="
            run("iscsi-inq", f"iscsi://host%secret-of-host@{at}{mutual}secret-of-target")
            run("iscsi-inq", f"iscsi://host%secret-of-host@{at}{mutual}another-secret!", expected=1)
            run("iscsi-inq", f"iscsi://host%wrong-secret-of@{at}", expected=1)
            run("iscsi-inq", f"iscsi://other%secret-of-host@{at}", expected=1)
            run("iscsi-inq", target.url(0), expected=1)


def test_digests():
    with Target() as target:
        for digest in ("none", "crc32c"):
            run("iscsi-inq", target.url(0) + f"?header_digest={digest}")


def test_a_scenario_runs_and_ends():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "scenario")
        for lines, status, text in (("# nothing\nresize 0 4096\nafter 20ms expect sessions 0\n", 0, "scenario done"),
                                    ("resize 0 4096\nexpect sessions 1 50ms\n", 1, "line=2"),
                                    ("resize 0\n", 2, "line 1: resize: an argument is missing"),
                                    ("after soon drop rst\n", 2, "line 1: after")):
            with open(path, "w", encoding="utf-8") as file:
                file.write(lines)
            result = subprocess.run([PATH, "--listen", "127.0.0.1:0", "--scenario", path, "--exit"],
                                    capture_output=True, text=True, check=False, timeout=LIMIT_S)
            check_equal(result.returncode, status, f"exit status: {result.stderr}")
            check(text in result.stdout + result.stderr, result.stdout + result.stderr)


def test_wrong_orders_name_what_was_wrong():
    with Target() as target:
        for words, text in ((("bogus",), '"bogus": expected a verb'), (("resize", "0"), "an argument is missing"),
                            (("sense", "0", "6/29"), "KEY/ASC/ASCQ"), (("drop", "it"), "fin|rst"),
                            (("resize", "7", "100"), "no such unit"), (("sense", "0", "6/29/00"), "no session"),
                            (("raise", "NO_SUCH"), "no such event code"), (("add", "0"), "there already"),
                            (("raise", "LINK_UP"), "no sense data"), (("reject", "256"), "0 to 255"),
                            (("async", "256"), "0 to 255"), (("refuse", "0x10000"), "class and detail"), (("ping", "now"), "nothing more")):
            result = target.try_tell(*words)
            check(result.returncode != 0 and text in result.stderr, f"{words}: {result.stderr}")
        check("unit 0 blocks=131072x512" in target.tell("state"))
    with Target(units=1024) as target:
        said = target.tell("state").splitlines()
        check_equal(said[-1], f"and {1024 - len(said) + 1} more units", "the end of a long answer")


def test_a_second_target_does_not_take_the_socket():
    with Target() as target:
        result = subprocess.run([PATH, "--listen", "127.0.0.1:0", "--control", target.control], capture_output=True,
                                text=True, check=False, timeout=LIMIT_S)
        check(result.returncode == 2 and "--control" in result.stderr, result.stderr)
        target.tell("state")


if __name__ == "__main__":
    if any(shutil.which(tool) is None for tool in TOOLS):
        print("SKIPPED: libiscsi-bin is not installed")
        sys.exit(SKIPPED)
    run_tests(globals())
