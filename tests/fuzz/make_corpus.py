#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the event, filter, request and sense corpora. Run it when the contract grows: make_corpus.py"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROTO = os.path.join(HERE, "../../proto")
NAMES = ["code", "event", "events", "agents", "adapter", "sdi", "admin"]
# The order of the descriptors in fuzz_request.c.
MESSAGES = ["AgentMessage", "BrokerMessage", "SubscribeRequest", "EventBatch", "AcknowledgeRequest", "GetStatusRequest",
            "GetStatusResponse", "AdapterRequest", "AdapterReply", "ListenRequest", "ListenReply", "NotifyEventRequest",
            "ListAgentsResponse", "ListDevicesResponse", "GetBrokerResponse"]


def load(directory):
    files = [f"sensebus/v1/{name}.proto" for name in NAMES]
    subprocess.run(["protoc", "--proto_path", PROTO, "--python_out", directory, *files], check=True)
    sys.path.insert(0, directory)
    import importlib
    types = {}
    for name in NAMES:
        types.update(vars(importlib.import_module(f"sensebus.v1.{name}_pb2")))
    return types


def write(corpus, name, data):
    directory = os.path.join(HERE, "corpus", corpus)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)


def lun_reset(types):
    event = types["Event"](code=203, severity=2, scope=1, mode=1, wall_time_unix_ns=1_700_000_000_000_000_000,
                           monotonic_time_ns=5_000_000_000, aix_bits=4, summary="unit 1 was reset")
    event.origin.MergeFrom(types["Origin"](host="node-7", boot_id="c0ffee", agent_epoch=77, source=1, source_sequence=12))
    event.address.MergeFrom(types["Address"](adapter="iscsi0", bus=-1, target=0, lun=1, lun_raw=1 << 48, controller=-1))
    event.device.MergeFrom(types["Device"](
        vendor="IET", product="VIRTUAL-DISK", revision="0001", serial="beaf11", designator="t10.IET 00010001",
        transport=1, target_name="iqn.2026-01.org.example:t1", portal="192.0.2.1:3260,1", kernel_names=["sdc", "sg3"]))
    event.native.MergeFrom(types["Native"](name="unit-attention", code=6, subcode=0x2903, raw=b"\x70\x00\x06",
                                           raw_length=18, parameters=[1, 2, 300]))
    event.sense.MergeFrom(types["Sense"](raw=bytes(18), response_code=0x70, key=6, asc=0x29, ascq=3, information=0,
                                         text="Bus device reset function occurred"))
    return event


def events_lost(types):
    event = types["Event"](code=901, severity=3, count=3)
    event.origin.MergeFrom(types["Origin"](host="node-7", agent_epoch=77, source=8, source_sequence=40))
    event.loss.MergeFrom(types["Loss"](stage=2, count=28, at_least=True, aix_bits=4, first_source_sequence=13,
                                       last_source_sequence=40, reason="spool full"))
    return event


def event_seeds(types):
    reset, lost = lun_reset(types), events_lost(types)
    coalesced = types["Event"](code=619, first_time_unix_ns=1, last_time_unix_ns=9, count=9, synthetic=True)
    coalesced.evidence.add(name="mode-page", detail="caf\u00e9 \u20ac")
    stored = lun_reset(types)
    stored.sequence, stored.broker_time_unix_ns, stored.session_generation = 9, 10, 11
    write("event", "lun_reset", reset.SerializeToString())
    write("event", "events_lost", lost.SerializeToString())
    write("event", "coalesced", coalesced.SerializeToString())
    write("event", "stored", stored.SerializeToString())
    write("event", "smallest", types["Event"](code=101).SerializeToString())
    write("event", "records", types["EventBatch"](events=[stored, stored]).SerializeToString())
    storm = [lun_reset(types) for _ in range(3)]
    for i, event in enumerate(storm):
        event.origin.source_sequence += i
        event.wall_time_unix_ns += 1000 * i
    write("known_events", "storm", types["Publish"](events=storm).SerializeToString())
    write("known_events", "mixed", types["Publish"](events=[coalesced, lost, reset, coalesced]).SerializeToString())
    write("event", "unknown_fields", reset.SerializeToString() + b"\xa0\x06\x2a\xc2\x3e\x02hi")
    write("event", "not_utf8", types["Event"](code=203).SerializeToString() + b"\x42\x03\x0a\x01\xff")
    write("event", "lengths_too_long", b"\x12\x81\x80\x00x\x12\x81\x80\x80\x80")
    write("event", "cut", reset.SerializeToString()[:-20])


def filter_seeds(types):
    full = types["Filter"](codes=[203, 204], categories=[2, 4], minimum_severity=2, hosts=["node-*", "a?"],
                           inquiry_prefixes=["IET     VIRT"], device_types=[0, -1], designators=["naa.6*"],
                           target_names=["*:t1"], modes=[1, 3], any_aix_bits=4)
    full.addresses.add(adapter="iscsi0", controller=-1, bus=-1, target=3, lun=0, lun_last=20)
    full.exclude.add(hosts=["node-8"])
    write("filter", "full", full.SerializeToString())
    write("filter", "empty", b"")
    write("filter", "hosts", types["Filter"](hosts=["*a*a*a*b", "node-7"]).SerializeToString())
    write("filter", "empty_exclude", b"\x62\x00")
    write("filter", "nested_exclude", b"\x62\x04\x62\x02\x18\x01")
    write("filter", "bad_address", types["Filter"](addresses=[types["AddressPattern"](bus=-2)]).SerializeToString())
    return full


def request_seeds(types, full_filter):
    position = types["Position"](epoch=5, sequence=9)
    status = types["GetStatusResponse"](position=position)
    status.devices.add(key="node-7/iqn:t1/1", host="node-7", pending_aix_bits=4).last.add(code=203, count=2, summary="x")
    heartbeat = types["Heartbeat"](newest_source_sequence=9, commands={"inquiry": 2, "test-unit-ready": 900})
    samples = [
        types["AgentMessage"](hello=types["Hello"](version=1, host="node-7", agent_epoch=77, instance=3)),
        types["AgentMessage"](publish=types["Publish"](events=[lun_reset(types), events_lost(types)])),
        types["AgentMessage"](heartbeat=heartbeat),
        types["BrokerMessage"](refused=types["Refused"](source_sequence=4, reason="origin.host: not UTF-8")),
        types["SubscribeRequest"](filter=full_filter, position=position, context=b"\x00\xff", slow_reader_policy=2),
        types["EventBatch"](correlator=b"c", events=[lun_reset(types)]),
        types["EventBatch"](gap=types["Gap"](stage=5, count=3, reason="trimmed")),
        types["AcknowledgeRequest"](cursor="c1", position=position),
        types["GetStatusRequest"](filter=full_filter, page_size=10),
        status,
        types["AdapterRequest"](version=1, id=1, event=types["RegisterEvent"](session_id="s", mode=1, correlator=b"")),
        types["AdapterReply"](result=types["Result"](id=1, error=3, detail=2, message="already registered")),
        types["ListenRequest"](id=1, add=types["AddEvent"](event_type=1, inquiry="IET", event_info=b"\x01")),
        types["ListenReply"](call=types["HandlerCall"](call_id=1, handler_id=2, event_type=3)),
        types["NotifyEventRequest"](event_type=256, sb=b"sb", deadline_ms=100),
        types["ListAgentsResponse"](agents=[types["Agent"](host="node-7", state=1, commands={"inquiry": 1})]),
        types["ListDevicesResponse"](next_page_token="t"),
        types["GetBrokerResponse"](version="0.1.0", newest=position, durability=1, accepting=True),
    ]
    for i, message in enumerate(samples):
        name = message.DESCRIPTOR.name
        write("request", f"{i:02d}_{name}", bytes([MESSAGES.index(name)]) + message.SerializeToString())
    write("request", "unknown_field", bytes([MESSAGES.index("SubscribeRequest")]) + b"\x0a\x03\x88\x01\x05")
    write("request", "unknown_value", bytes([MESSAGES.index("SubscribeRequest")]) + b"\x58\x09")
    write("request", "many_small", bytes([MESSAGES.index("EventBatch")]) + b"\x12\x00" * 400)
    write("request", "deep", bytes([MESSAGES.index("SubscribeRequest")]) + deep_filter(40))


def deep_filter(levels):
    data = b""
    for _ in range(levels):
        data = b"\x62" + bytes([len(data)]) + data
    return b"\x0a" + bytes([len(data)]) + data


def sense_seeds():
    write("sense", "fixed", bytes.fromhex("f00006000102030a0000000929037780123400"))
    write("sense", "descriptor", bytes.fromhex("7206290000000026000a80000000000100000002"
                                               "7f00010a00000000000000000005020600 00c0000100 03020021"))
    write("sense", "deferred", bytes.fromhex("71000300000000 0a000000000c0000000000"))
    write("sense", "descriptor_deferred", bytes.fromhex("7303110100000000"))
    write("sense", "vendor", bytes.fromhex("700006000000000a000000008001"))
    write("sense", "illegal_request", bytes.fromhex("700005000000000a000000002500"))
    write("sense", "cut_fixed", bytes.fromhex("700006"))
    write("sense", "cut_descriptor", bytes.fromhex("7206290000000020000a80"))
    write("sense", "not_sense", b"\x7f\x00")


def main():
    with tempfile.TemporaryDirectory() as directory:
        types = load(directory)
        event_seeds(types)
        request_seeds(types, filter_seeds(types))
        sense_seeds()


if __name__ == "__main__":
    main()
