from __future__ import annotations

import struct
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.cluster.embedded import dns
from fixtures.cluster.embedded.network import POD_RANGE, SERVICE_RANGE, Addresses, free_numbers


@settings(deadline=None)
@given(st.integers(0, 255))
def test_the_ranges_of_a_cluster_do_not_overlap(number: int) -> None:
    addresses = Addresses(number)
    assert addresses.host in addresses.near
    assert addresses.node in addresses.near
    assert addresses.host != addresses.node
    assert not addresses.near.overlaps(addresses.balanced)
    assert addresses.near.subnet_of(addresses.network)
    assert addresses.balanced.subnet_of(addresses.network)
    assert addresses.pods.subnet_of(POD_RANGE)
    assert addresses.dns_service in SERVICE_RANGE
    assert len(addresses.link) <= 15  # the kernel's limit for the name of a link


@settings(deadline=None)
@given(st.integers(0, 255), st.integers(0, 255))
def test_two_clusters_share_no_address(one: int, other: int) -> None:
    assert (one == other) == Addresses(one).network.overlaps(Addresses(other).network)


def test_routed_ranges_are_avoided_and_wide_routes_are_not() -> None:
    routed = ["default", "10.0.0.0/8", "10.213.0.0/25", "10.213.1.7", "fd00::/64", "10.213.4.0/22", "192.0.2.0/24", ""]
    assert list(free_numbers(routed))[:4] == [2, 3, 8, 9]


def test_no_number_is_left_where_all_is_routed() -> None:
    assert list(free_numbers(["10.213.0.0/16"])) == []


@settings(deadline=None, max_examples=25)
@given(st.lists(st.ip_addresses(v=4).map(str), max_size=8))
def test_free_numbers_overlap_nothing(routed: list[str]) -> None:
    for number in free_numbers(routed):
        assert not any(Addresses(number).network.overlaps(IPv4Network(address)) for address in routed)


def reply(query: bytes, *records: bytes, code: int = 0) -> bytes:
    return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + query[12:] + b"".join(records)


A_RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + bytes([10, 96, 0, 1])
CNAME = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 5, 3) + b"\x01a\x00"


def test_an_address_is_read_past_other_records() -> None:
    query = dns.question("kubernetes.default.svc.cluster.local")
    assert dns.address_in(query, reply(query, CNAME, A_RECORD)) == "10.96.0.1"


def test_what_is_no_answer_is_not_taken_for_one() -> None:
    query = dns.question("a.b")
    assert dns.address_in(query, reply(query, A_RECORD, code=3)) is None
    assert dns.address_in(query, reply(query)) is None
    assert dns.address_in(query, query) is None
    assert dns.address_in(query, b"HTTP/1.1 404 Not Found\r\n\r\n") is None
    other = bytes([query[0] ^ 1]) + query[1:]
    assert dns.address_in(query, reply(other, A_RECORD)) is None
    assert dns.address_in(query, reply(dns.question("b.a"), A_RECORD)) is None


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_answer_however_broken_raises(noise: bytes, echo: bool) -> None:
    query = dns.question("kubernetes.default.svc.cluster.local")
    answer = reply(query, noise) if echo else noise
    found = dns.address_in(query, answer)
    assert found is None or found.count(".") == 3


def test_the_objects_of_coredns_are_created_in_an_order_that_works() -> None:
    paths = [path for path, _ in dns.objects(Addresses(0), "CA")]
    assert paths[-1].endswith("deployments")
    assert all("metadata" in body for _, body in dns.objects(Addresses(0), "CA"))


def test_the_name_server_asks_for_a_processor_as_other_pods_do() -> None:
    *_, (_, deployment) = dns.objects(Addresses(0), "CA")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "70Mi"}


@pytest.mark.parametrize("name", ["a", "kubernetes.default.svc.cluster.local", "x.y."])
def test_a_question_ends_with_its_type(name: str) -> None:
    assert dns.question(name).endswith(b"\0\0\x01\0\x01")
