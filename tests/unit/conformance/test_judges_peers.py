from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.certificates import Answer
from conformance.checks.authority import broken, keys_in
from conformance.checks.authority_judges import (
    Bounds,
    Deposit,
    Keys,
    Pair,
    Request,
    judge_bounds,
    judge_keys,
    judge_pairs,
)
from conformance.checks.peers_judges import (
    Arm,
    Arms,
    Header,
    Headers,
    Hello,
    Hellos,
    judge_arms,
    judge_headers,
    judge_hellos,
)
from conformance.forgery import forge
from conformance.pulse import excused
from reports.model import Verdict

SERVED = Arm("own", True, 20, 20, 20, {})
REFUSED = Arm("foreign", False, 20, 0, 0, {"tls": 20})


@pytest.mark.parametrize(
    ("arms", "verdict"),
    [
        ((SERVED, REFUSED), Verdict.PASS),
        ((), Verdict.INCONCLUSIVE),
        ((SERVED,), Verdict.INCONCLUSIVE),
        ((REFUSED,), Verdict.INCONCLUSIVE),
        ((SERVED, replace(REFUSED, sent=0, ends={})), Verdict.INCONCLUSIVE),
        ((SERVED, replace(REFUSED, answered=1)), Verdict.FAIL),
        ((SERVED, replace(REFUSED, served=1)), Verdict.FAIL),  # refused to the caller's face, and served all the same
        ((replace(SERVED, answered=19), REFUSED), Verdict.FAIL),
        ((replace(SERVED, answered=0, served=0), REFUSED), Verdict.FAIL),  # everybody refused proves nothing
        ((replace(SERVED, served=3), REFUSED), Verdict.INCONCLUSIVE),  # the application's count is no witness
        ((SERVED, replace(REFUSED, ends={"tls": 18, "timeout": 2})), Verdict.INCONCLUSIVE),
        ((SERVED, replace(REFUSED, ends={"timeout": 20})), Verdict.PASS),  # a mesh that drops packets
        # one that is late, on a busy machine, says nothing against the mesh
        ((replace(SERVED, answered=19, served=19, ends={"timeout": 1}), REFUSED), Verdict.INCONCLUSIVE),
        ((replace(SERVED, answered=19, ends={"timeout": 1}), REFUSED), Verdict.INCONCLUSIVE),
        ((replace(SERVED, answered=18, ends={"timeout": 1, "tls": 1}), REFUSED), Verdict.FAIL),
        ((replace(SERVED, answered=19, ends={"timeout": 1}), replace(REFUSED, answered=1)), Verdict.FAIL),
        ((replace(SERVED, answered=0, served=0, ends={"timeout": 20}), REFUSED), Verdict.FAIL),  # all of them hang
    ],
)
def test_certificates_of_callers(arms, verdict):
    assert judge_arms(Arms(arms)).verdict is verdict


def test_no_stall_excuses_an_answer_to_who_is_to_be_refused():
    let_in = judge_arms(Arms((SERVED, replace(REFUSED, answered=1))))
    assert excused(let_in, 9.0, 0.0) == let_in
    lost = judge_arms(Arms((replace(SERVED, answered=1), REFUSED)))
    assert (lost.verdict, excused(lost, 9.0, 0.0).verdict) == (Verdict.FAIL, Verdict.INCONCLUSIVE)
    # what the application counted beside late requests may be those
    late = judge_arms(Arms((SERVED, replace(REFUSED, served=1), replace(REFUSED, ends={"timeout": 20}))))
    assert excused(late, 9.0, 0.0).verdict is Verdict.INCONCLUSIVE


def test_arms_that_are_not_what_they_should_be_prove_nothing():
    assert judge_arms(Arms((SERVED, REFUSED), "not expired yet")).verdict is Verdict.INCONCLUSIVE


NEW, OLD, OLDER = Hello(1, "", "TLSv1.3", "", ""), Hello(1, "TLSv1.1", "", "x", "tls"), Hello(1, "TLSv1", "", "", "eof")
CONTROL = Hello(1, "TLSv1.2", "TLSv1.2", "", "")
TOLD = tuple(replace(one, alert="protocol_version", error="tls") for one in (OLD, OLDER))


@pytest.mark.parametrize(
    ("hellos", "verdict"),
    [
        ((NEW, CONTROL, OLD, OLDER), Verdict.PASS),
        (
            (NEW, replace(CONTROL, taken="", alert="protocol_version"), *TOLD),
            Verdict.PASS,
        ),  # takes 1.3 only, and says so
        # takes 1.3 only, and an old hello for no TLS at all
        (
            (NEW, replace(CONTROL, taken="", alert="protocol_version", error="tls"), replace(OLD, alert=""), OLDER),
            Verdict.PASS,
        ),
        (
            (NEW, replace(CONTROL, taken="", alert="handshake_failure"), OLD, OLDER),
            Verdict.INCONCLUSIVE,
        ),  # no such hello
        ((NEW, OLD, OLDER), Verdict.INCONCLUSIVE),
        ((), Verdict.INCONCLUSIVE),
        ((NEW, OLD), Verdict.INCONCLUSIVE),
        ((OLD, OLDER), Verdict.INCONCLUSIVE),
        ((replace(NEW, taken="", error="tls"), OLD, OLDER), Verdict.FAIL),  # plain Kubernetes
        ((replace(NEW, taken="", error="timeout"), OLD, OLDER), Verdict.INCONCLUSIVE),
        ((replace(NEW, taken="TLSv1.1"), OLD, OLDER), Verdict.FAIL),
        ((NEW, replace(OLD, taken="TLSv1.1", error=""), OLDER), Verdict.FAIL),
        ((NEW, OLD, replace(OLDER, error="timeout")), Verdict.INCONCLUSIVE),
    ],
)
def test_versions(hellos, verdict):
    assert judge_hellos(Hellos(hellos)).verdict is verdict


PLAIN = Header("outside", "", 20, 20, 0, 0, 20)
MESHED = Header("in the mesh", "spiffe://a", 20, 20, 0, 20)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ((PLAIN, MESHED), Verdict.PASS),
        ((), Verdict.INCONCLUSIVE),
        ((replace(PLAIN, sent=0), MESHED), Verdict.INCONCLUSIVE),
        ((replace(PLAIN, wire=0), MESHED), Verdict.INCONCLUSIVE),  # perhaps nothing was forged at all
        ((MESHED,), Verdict.INCONCLUSIVE),
        ((replace(PLAIN, forged=1), MESHED), Verdict.FAIL),
        ((PLAIN, replace(MESHED, forged=20)), Verdict.FAIL),
        ((PLAIN, replace(MESHED, verified=19)), Verdict.FAIL),
        ((PLAIN, replace(MESHED, arrived=19)), Verdict.FAIL),
        ((PLAIN, replace(MESHED, arrived=19, verified=19, late=1)), Verdict.INCONCLUSIVE),  # a busy machine
        ((PLAIN, replace(MESHED, arrived=18, verified=18, late=1)), Verdict.FAIL),
        ((PLAIN, replace(MESHED, arrived=19, verified=18, late=1)), Verdict.FAIL),
        ((PLAIN, replace(MESHED, arrived=0, verified=0, late=20)), Verdict.FAIL),  # all of them hang
        ((replace(PLAIN, arrived=19, late=1), replace(MESHED, forged=1)), Verdict.FAIL),
    ],
)
def test_peer_headers(headers, verdict):
    assert judge_headers(Headers("x", headers)).verdict is verdict


A, B = Pair("a", "id-a", ("id-a",), "k1", ("id-a",)), Pair("b", "id-b", ("id-b",), "k2", ("id-b",))


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ((A, B), Verdict.PASS),
        ((), Verdict.INCONCLUSIVE),
        ((A,), Verdict.INCONCLUSIVE),
        ((A, replace(B, shown=("id-a",))), Verdict.FAIL),
        ((A, replace(B, shown=())), Verdict.FAIL),
        ((A, replace(B, shown=(), error="timeout")), Verdict.INCONCLUSIVE),
        ((A, replace(B, shown=("id-b", "id-a"))), Verdict.FAIL),
        ((A, replace(B, key="k1")), Verdict.FAIL),
        ((A, replace(B, signed=("id-a",))), Verdict.FAIL),
        ((A, replace(B, signed=())), Verdict.FAIL),
        ((A, replace(B, signed=None)), Verdict.INCONCLUSIVE),
    ],
)
def test_two_identities(pairs, verdict):
    assert judge_pairs(pairs).verdict is verdict


HONEST = Request("honest", True, True, "", 600.0)
GREEDY = Request("greedy", True, True, "", 86_400.0)
BAD = Request("bad", False, False, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("requests", "verdict"),
    [
        ((HONEST, GREEDY, BAD), Verdict.PASS),
        ((HONEST, replace(GREEDY, signed=False, lifetime=None), BAD), Verdict.PASS),
        ((), Verdict.FAIL),
        ((HONEST, GREEDY), Verdict.FAIL),
        ((HONEST, GREEDY, replace(BAD, signed=True)), Verdict.FAIL),
        ((HONEST, replace(GREEDY, lifetime=3e8), BAD), Verdict.FAIL),
        ((replace(HONEST, may_sign=True), GREEDY, BAD), Verdict.FAIL),
        ((replace(HONEST, signed=False, lifetime=None), GREEDY, BAD), Verdict.FAIL),
    ],
)
def test_bounds(requests, verdict):
    assert judge_bounds(Bounds(requests, 86_400)).verdict is verdict


SAFE = Keys(("server",), 9, 3, (), Answer(("a",), ("a",), own_key=True))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (SAFE, Verdict.PASS),
        (replace(SAFE, workloads=()), Verdict.FAIL),  # plain Kubernetes
        (replace(SAFE, workloads=(), late=2), Verdict.INCONCLUSIVE),
        (replace(SAFE, late=1), Verdict.INCONCLUSIVE),
        (replace(SAFE, looked_at=0), Verdict.INCONCLUSIVE),
        (replace(SAFE, dumps=0), Verdict.INCONCLUSIVE),  # a key may be where nobody looked
        (replace(SAFE, unread=1), Verdict.INCONCLUSIVE),
        (replace(SAFE, honest=None), Verdict.INCONCLUSIVE),
        (replace(SAFE, honest=Answer(("a",), ("a",), own_key=False)), Verdict.FAIL),
        (replace(SAFE, deposits=(Deposit("Secret a/ca", "Secret", (), False),)), Verdict.PASS),  # the authority's own
        (replace(SAFE, deposits=(Deposit("Secret a/b", "Secret", ("id",), False),)), Verdict.FAIL),
        (replace(SAFE, deposits=(Deposit("Secret a/b", "Secret", (), True),)), Verdict.FAIL),
        (replace(SAFE, deposits=(Deposit("dump", "proxy configuration", (), False),)), Verdict.FAIL),
    ],
)
def test_keys(history, verdict):
    assert judge_keys(history).verdict is verdict


def test_keys_are_found_with_the_names_beside_them():
    pair = forge("spiffe://t/ns/a/sa/b")
    ((mark, names),) = keys_in(f"{pair.key}\n{pair.chain}")
    assert names == ("spiffe://t/ns/a/sa/b",)
    assert len(mark) == 64
    assert list(keys_in(pair.chain)) == []


def test_a_broken_request_is_readable_and_its_signature_is_not_its_keys():
    from cryptography import x509

    from conformance.certificates import new_request

    csr, key = new_request(("spiffe://t/ns/a/sa/b",))
    read = x509.load_pem_x509_csr(broken(csr).encode())
    assert read.public_key() == key.public_key()
    assert not read.is_signature_valid
