import ipaddress
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads.pod.sniffer import Segment, Tally, is_tls_record, parse_frame


def tcp(payload, source_port=1234, target_port=8080):
    return struct.pack("!HHIIBBHHH", source_port, target_port, 0, 0, 5 << 4, 0x18, 0, 0, 0) + payload


def ipv4(segment, *, protocol=6, fragment=0, size=None, trailer=b""):
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(segment) if size is None else size,
        0,
        fragment,
        64,
        protocol,
        0,
        ipaddress.ip_address("10.0.0.1").packed,
        ipaddress.ip_address("10.0.0.2").packed,
    )
    return b"\0" * 12 + b"\x08\x00" + head + segment + trailer


def ipv6(segment):
    head = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64)
    return b"\0" * 12 + b"\x86\xdd" + head + b"\0" * 15 + b"\1" + b"\0" * 15 + b"\2" + segment


def test_frames():
    expected = Segment("10.0.0.1", 1234, "10.0.0.2", 8080, b"hello")
    assert parse_frame(ipv4(tcp(b"hello"))) == expected
    assert parse_frame(ipv4(tcp(b"hello"), trailer=b"\0" * 6)) == expected, "an Ethernet trailer is not payload"
    assert parse_frame(ipv4(tcp(b"hello"), size=0)) == expected, "a segment the card is to cut up"
    assert parse_frame(ipv6(tcp(b"hello"))) == Segment("::1", 1234, "::2", 8080, b"hello")
    assert parse_frame(ipv4(tcp(b"hello"), protocol=17)) is None
    assert parse_frame(ipv4(tcp(b"hello"), fragment=5)) is None


@given(st.binary(max_size=200) | st.binary(max_size=60).map(ipv4) | st.binary(max_size=60).map(ipv6))
def test_no_frame_is_too_broken(frame):
    segment = parse_frame(frame)
    assert segment is None or isinstance(segment, Segment)


@pytest.mark.parametrize(
    "payload", [b"\x16\x03\x01\x02\x00x", b"\x17\x03\x03\x40\x10", b"\x15\x03\x03\x00\x02\x02\x28"]
)
def test_tls_records(payload):
    assert is_tls_record(payload)


@pytest.mark.parametrize("payload", [b"", b"GET /", b"\x16\x03\x01", b"\x18\x03\x03\x00\x01", b"\x17\x03\x03\xff\xff"])
def test_no_tls_records(payload):
    assert not is_tls_record(payload)


@given(st.lists(st.integers(0, 29), max_size=4))
def test_a_marker_is_found_once_wherever_segments_cut_it(cuts):
    text = b"x" * 10 + b"SECRET-1" + b"y" * 12
    borders = [0, *sorted(cuts), len(text)]
    tally = Tally(frozenset({8080}), b"SECRET-1")
    for start, end in pairwise(borders):
        tally.add(Segment("a", 1, "b", 8080, text[start:end]))
    assert tally.plaintext_hits == 1
    assert tally.octets == len(text)


def test_a_tally_counts_both_directions_of_its_ports_only():
    tally = Tally(frozenset({8080}), b"m")
    tally.add(Segment("peer", 1, "me", 8080, b"m"))
    tally.add(Segment("me", 8080, "peer", 1, b"\x17\x03\x03\x00\x01m"))
    tally.add(Segment("me", 8080, "peer", 1, b""))
    tally.add(Segment("me", 5, "other", 9090, b"m"))
    assert tally.to_json() == {
        "packets": 3,
        "payload_packets": 2,
        "bytes": 7,
        "tls_records": 1,
        "plaintext_hits": 2,
        "peers": ["peer"],
    }


def test_a_tally_of_two_ports_is_one():
    tally = Tally(frozenset({8080, 4143}), b"m")
    tally.add(Segment("probe", 1, "me", 8080, b"m"))
    tally.add(Segment("proxy", 8080, "me", 4143, b"\x17\x03\x03\x00\x01x"))
    tally.add(Segment("me", 7, "other", 4140, b"m"))
    found = tally.to_json()
    assert (found["packets"], found["tls_records"], found["plaintext_hits"]) == (2, 1, 1)
    assert found["peers"] == ["probe", "proxy"]


def test_a_tally_does_not_grow_without_bound():
    tally = Tally(frozenset({8080}), b"marker")
    for n in range(6000):
        tally.add(Segment(f"10.0.{n // 256}.{n % 256}", n, "me", 8080, b"x" * 50))
    assert len(tally.peers) <= 256
    assert len(tally._tails) <= 4096
    assert max(map(len, tally._tails.values())) < len(b"marker")
