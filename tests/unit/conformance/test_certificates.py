from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from conformance import certificates
from conformance.adapters import load
from conformance.certificates import decode_chain, encode_request, issue, new_request
from conformance.checks import peers
from conformance.context import Context, NotExpressible, Pod
from conformance.trouble import Trouble
from reports.errors import EnvironmentProblem
from reports.model import Verdict


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


class Answered(grpc.RpcError):
    """How a call ended."""

    def __init__(self, status: grpc.StatusCode, said: str) -> None:
        self.status, self.said = status, said

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return self.said


def answering(monkeypatch: pytest.MonkeyPatch, status: grpc.StatusCode, said: str) -> None:
    """Every call for a certificate ends like this."""

    def call(*_: object, **__: object) -> bytes:
        raise Answered(status, said)

    @contextlib.contextmanager
    def channel(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(unary_unary=lambda *_, **__: call)

    monkeypatch.setattr(certificates, "secure_channel", channel)
    monkeypatch.setattr(peers, "token_for", lambda *_: "token")


POD = Pod("server", "in", "10.0.0.9", {"metadata": {"uid": "1"}, "spec": {"serviceAccountName": "server"}})


def context() -> Context:
    """Of an Istio whose pods are all the same one."""
    adapter = load("istio")
    ctx = SimpleNamespace(kube=None, adapter=adapter, render=adapter.render, pod=lambda _: POD)
    return cast("Context", ctx)


def test_a_control_plane_that_signs_for_nobody_is_not_held_to_what_another_authority_does(monkeypatch):
    answering(monkeypatch, grpc.StatusCode.UNIMPLEMENTED, "unknown service istio.v1.auth.IstioCertificateService")
    authority = peers.authority_of(context(), POD)
    assert authority is not None
    with pytest.raises(NotExpressible, match="another authority does") as raised:
        issue(cast("Any", None), authority, "token", "csr")
    assert Trouble.of(raised.value).judgement.verdict is Verdict.UNSUPPORTED


def test_a_certificate_that_a_check_only_needs_and_is_refused_is_no_crash_of_the_check(monkeypatch):
    answering(monkeypatch, grpc.StatusCode.UNAUTHENTICATED, "request authenticate failure")
    with pytest.raises(EnvironmentProblem) as raised:
        peers.obtain(context(), POD)
    found = Trouble.of(raised.value)
    assert found.kind == "environment"
    assert found.judgement.verdict is Verdict.INCONCLUSIVE
    assert found.judgement.reason == (
        "the certificate authority signs no certificate for server in in: UNAUTHENTICATED: request authenticate failure"
    )
