from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from conformance.certificates import decode_chain, encode_request, new_request


def test_a_request_asks_for_what_it_claims():
    pem, key = new_request(("spiffe://t/ns/a/sa/b",))
    request = x509.load_pem_x509_csr(pem.encode())
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://t/ns/a/sa/b"]
    assert request.public_key() == key.public_key()


def test_the_message_is_protobufs():
    assert encode_request("abc", 600) == b"\x0a\x03abc\x18\xd8\x04"
    long = encode_request("x" * 300, 1)
    assert (long[:3], long[-2:]) == (b"\x0a\xac\x02", b"\x18\x01")


def test_a_chain_is_read_and_other_fields_are_passed_over():
    assert decode_chain(b"\x0a\x01a\x10\x96\x01\x1a\x02zz\x0a\x02bc") == ("a", "bc")
    assert decode_chain(b"") == ()


@given(st.binary(max_size=60))
def test_garbage_is_refused_or_read_but_never_crashes(data):
    with contextlib.suppress(ValueError):
        assert all(isinstance(one, str) for one in decode_chain(data))


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x0b", b"\xff" * 12])
def test_cut_off_answers_are_named(data):
    with pytest.raises(ValueError, match="answer"):
        decode_chain(data)
