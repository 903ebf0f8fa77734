from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent import enrolment
from refmesh.agent.enrol import signing_request
from refmesh.agent.enrolment import EnrolmentFailed, read_result, write_result
from refmesh.ca.signing import Keyring, check_request

KEYRING = Keyring.create()
IDENTITY = "spiffe://cluster.local/ns/shop/sa/cart"


def test_what_the_child_writes_the_agent_reads():
    key, csr = signing_request(IDENTITY)
    chain = KEYRING.sign(csr, IDENTITY)
    identity = read_result(write_result(1234.0, key, chain), KEYRING.root_pem.decode())
    assert identity.key_pem.strip() == key.strip()
    assert identity.chain_pem.decode() == chain[0] + chain[1]
    assert identity.roots_pem == KEYRING.root_pem
    assert identity.not_after == 1234.0


def test_during_a_change_of_root_both_are_trusted():
    key, csr = signing_request(IDENTITY)
    old = Keyring.create().root_pem
    identity = read_result(write_result(1, key, KEYRING.sign(csr, IDENTITY)), old.decode())
    assert identity.roots_pem == KEYRING.root_pem + old


def test_the_csr_is_one_the_ca_accepts():
    check_request(signing_request(IDENTITY)[1])


@given(st.binary(max_size=200))
def test_anything_else_is_a_failure_with_words(data):
    with pytest.raises(EnrolmentFailed, match=r"."):
        read_result(data, "")


def test_the_childs_words_are_kept():
    with pytest.raises(EnrolmentFailed, match="ConnectionRefusedError"):
        read_result(b"ConnectionRefusedError: nobody there\n", "")


@given(st.floats(0, 1), st.floats(2, 86_400))
def test_renewal_is_between_half_and_two_thirds_of_the_lifetime(jitter, lifetime):
    wait = enrolment.renewal_delay(1000 + lifetime, 1000, jitter)
    assert 0.5 * lifetime - 1e-6 <= max(wait, 0.5 * lifetime) <= max(1.0, lifetime * 2 / 3 + 1e-6)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_retries_are_bounded(attempt, jitter):
    assert 0.04 < enrolment.retry_delay(attempt, jitter) <= 15


def test_an_expired_certificate_is_renewed_soon_but_not_in_a_loop():
    assert enrolment.renewal_delay(0, 1000, 0.5) == 1.0
