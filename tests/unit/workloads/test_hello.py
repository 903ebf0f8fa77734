import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads.pod.certificate import make, server_context
from fixtures.workloads.pod.hello import VERSIONS, Unreadable, Verdict, client_hello, read_answer


def answer_of_openssl(hello: bytes) -> bytes:
    context = server_context(make(["server"]))
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    inward.write(hello)
    with pytest.raises(ssl.SSLError):
        context.wrap_bio(inward, outward, server_side=True).do_handshake()
    return outward.read()


def test_a_real_server_takes_the_new_version_and_refuses_the_old():
    assert read_answer(answer_of_openssl(client_hello("TLSv1.2", "server", ("h2",)))) == Verdict(version="TLSv1.2")
    for old in ("TLSv1", "TLSv1.1"):
        assert read_answer(answer_of_openssl(client_hello(old))) == Verdict(alert="protocol_version")


@pytest.mark.parametrize("version", VERSIONS)
def test_lengths_fit(version):
    hello = client_hello(version, "a.b", ("istio", "h2"))
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
    assert int.from_bytes(hello[9:11], "big") == VERSIONS[version]


@given(st.integers(0, 60))
def test_a_piece_of_an_answer_is_no_verdict_yet(length):
    whole = b"\x16\x03\x01\x00\x06\x02\x00\x00\x50\x03\x01"
    found = read_answer(whole[:length])
    assert found == (Verdict(version="TLSv1") if length >= len(whole) else None)


@given(st.binary(max_size=40))
def test_whatever_comes_is_a_verdict_or_unreadable(data):
    try:
        found = read_answer(data)
    except Unreadable:
        return
    assert found is None or bool(found.version) != bool(found.alert)
