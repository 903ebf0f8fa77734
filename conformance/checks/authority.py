"""ID: what the certificate authority signs, for whom, and where the keys are."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from conformance.adapters import Authority
from conformance.adapters.pages import UNREAD
from conformance.catalogue import check
from conformance.certificates import Answer, Refused, issue, new_request, request_certificate, sans, token_for
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
from conformance.checks.handshakes import account_of, to_proxy
from conformance.checks.injection import GROUND
from conformance.checks.key_origins import origins
from conformance.checks.peers import authority_of, by_nodes, identity_of
from conformance.context import LIMITS, Context, Pod
from fixtures.workloads.traffic import Batch

__all__ = ["Look", "keys_in", "look", "shake"]

PEOPLE = ("server", "optin")
"""Meshed workloads of the ground, each with a service account of its own."""
TEN_YEARS = 10 * 365 * 86_400
_PRIVATE = re.compile(r"-----BEGIN (?:EC |RSA )?PRIVATE KEY-----.*?-----END (?:EC |RSA )?PRIVATE KEY-----", re.DOTALL)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Look:
    """A handshake from outside of the mesh."""

    at: float
    """When it began, epoch seconds by the clock of a node, as what it is compared with."""
    certificate: x509.Certificate | None
    """What the other side showed."""
    error: str
    """How it ended where it did not come about."""


def look(ctx: Context, pod: Pod) -> Look:
    """Shake hands with a pod from outside of the mesh."""
    return _shake(ctx, to_proxy(ctx, pod, _bare(f"{pod.host}:8080")))


def shake(ctx: Context, address: str, sni: str = "") -> Look:
    """Shake hands with whoever is at an address (host:port), from outside of the mesh."""
    return _shake(ctx, _bare(address, sni))


def _bare(address: str, sni: str = "") -> Batch:
    return Batch(url=f"tls://{address}", protocol="tls", sni=sni, timeout=LIMITS.probe)


def _shake(ctx: Context, batch: Batch) -> Look:
    record = ctx.outsider().batch(batch)[0]
    pem = str((record.tls or {}).get("server_certificate") or "")
    shown = x509.load_pem_x509_certificate(pem.encode()) if pem else None
    return Look(by_nodes(ctx, record.start), shown, record.error or "")


def fingerprint(key: Any) -> str:
    """SHA-256 of a public key, in hex."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def bound_token(ctx: Context, pod: Pod, audience: str) -> str:
    """A token as the kubelet projects it into a pod; for the audience "" the one for the API server."""
    bound = (pod.name, str(pod.object["metadata"]["uid"]))
    return token_for(ctx.kube, pod.namespace, account_of(pod), bound, audience)


@check(
    id="ID-04",
    title="Two service accounts have two identities",
    proves=("identity",),
    judge=judge_pairs,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md",
)
def two_identities(ctx: Context) -> tuple[Pair, ...]:
    """Look at what two workloads show, and at what their tokens are worth to the authority."""
    found = []
    for workload in PEOPLE:
        pod = ctx.pod(workload)
        seen = look(ctx, pod)
        certificate = seen.certificate
        authority = authority_of(ctx, pod)
        declared = identity_of(ctx, pod)
        signed = None
        if authority is not None:
            token = bound_token(ctx, pod, authority.audience)
            signed = request_certificate(ctx.kube, authority, token, (declared,)).issued
        found.append(
            Pair(
                workload,
                declared,
                sans(certificate) if certificate else (),
                fingerprint(certificate.public_key()) if certificate else "",
                signed,
                seen.error,
            )
        )
    return tuple(found)


# -- keys --------------------------------------------------------------------------------------------------------------


def keys_in(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each private key of a text: the fingerprint of its public part, and the names in certificates beside it."""
    names = [name for pem in _CERTIFICATE.findall(text) for name in _names(pem)]
    for pem in _PRIVATE.findall(text):
        try:
            key = serialization.load_pem_private_key(pem.encode(), None)
        except (ValueError, TypeError):
            continue  # no key after all, or an encrypted one that is no use without its password
        yield fingerprint(key.public_key()), tuple(names)


def _certified(chain: str) -> tuple[set[str], list[str]]:
    """Fingerprints of the keys in certificates, and the names there."""
    found = [x509.load_pem_x509_certificate(pem.encode()) for pem in _CERTIFICATE.findall(chain)]
    return {fingerprint(one.public_key()) for one in found}, [name for one in found for name in sans(one)]


def _names(pem: str) -> tuple[str, ...]:
    try:
        return sans(x509.load_pem_x509_certificate(pem.encode()))
    except ValueError:
        return ()


def _content(item: Mapping[str, Any], *, encoded: bool) -> str:
    pieces = [str(value) for value in (item.get("data") or {}).values()]
    if encoded:
        pieces = [_decoded(piece) for piece in pieces]
    pieces += [_decoded(str(value)) for value in (item.get("binaryData") or {}).values()]
    return "\n".join(pieces)


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode("utf-8", "replace")
    except binascii.Error:
        return ""


@check(
    id="ID-07",
    title="A workload's private key never leaves its pod",
    proves=("identity", "private keys"),
    judge=judge_keys,
    ground=GROUND,
    requires=("ID-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret",
)
def keys_stay(ctx: Context) -> Keys:
    """Search every Secret, ConfigMap and the proxies' configuration for keys, and ask the authority for a signature."""
    pods = [ctx.pod(workload) for workload in PEOPLE]
    looks = {pod.name: look(ctx, pod) for pod in pods}
    shown = {name: seen.certificate for name, seen in looks.items() if seen.certificate is not None}
    late = sum(seen.error == "timeout" for seen in looks.values())
    in_use = {fingerprint(certificate.public_key()) for certificate in shown.values()}
    workloads = {identity_of(ctx, pod) for pod in pods}
    deposits: list[Deposit] = []

    def search(text: str, where: str, kind: str) -> None:
        for mark, names in keys_in(text):
            deposits.append(Deposit(where, kind, tuple(name for name in names if name in workloads), mark in in_use))

    looked_at = dumps = unread = local = 0
    for kind in ("Secret", "ConfigMap"):
        for item in ctx.kube.list("v1", kind):
            looked_at += 1
            where = f"{kind} {item['metadata']['namespace']}/{item['metadata']['name']}"
            search(_content(item, encoded=kind == "Secret"), where, kind)
    for pod in pods:
        pages = ctx.adapter.dump(ctx.kube, pod.namespace, pod.name)
        unread += not pages
        for name, text in pages.items():
            unread += text.startswith(UNREAD)
            dumps += not text.startswith(UNREAD)
            search(text.replace("\\n", "\n"), f"{name} of {pod.name}", "proxy configuration")
            for origin in origins(text):
                marks, names = _certified(origin.chain)
                mine = tuple(one for one in names if one in workloads)
                local += origin.local and bool(mine)
                if mine and not origin.local:
                    sent = f"what {pod.name} is sent ({origin.how})"
                    deposits.append(Deposit(sent, "proxy configuration", mine, not marks.isdisjoint(in_use)))
    authority = authority_of(ctx, pods[0])
    honest: Answer | None = None
    if authority is not None:
        token = bound_token(ctx, pods[0], authority.audience)
        honest = request_certificate(ctx.kube, authority, token, (identity_of(ctx, pods[0]),))
    return Keys(tuple(shown), looked_at, dumps, tuple(deposits), honest, late, unread, local)


# -- what is signed ----------------------------------------------------------------------------------------------------


def _asked(
    ctx: Context, authority: Authority, token: str, csr: str, what: str, *, seconds: int = 600, welcome: bool = False
) -> Request:
    try:
        chain = issue(ctx.kube, authority, token, csr, seconds)
    except Refused as refusal:
        return Request(what, welcome, signed=False, refusal=str(refusal))
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    try:
        may_sign = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        may_sign = False
    return Request(what, welcome, True, "", leaf.not_valid_after_utc.timestamp() - time.time(), may_sign)


def broken(csr: str) -> str:
    """The same CSR with a signature that its key did not make."""
    request = x509.load_pem_x509_csr(csr.encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1  # the last byte of the signature's second number: still well-formed, and wrong
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def _revoked_token(ctx: Context, pod: Pod, audience: str) -> str:
    """A token that the API server itself no longer calls valid: the Secret that it was bound to is gone."""
    name = f"revoked-{secrets.token_hex(4)}"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": pod.namespace}}
    (made,) = ctx.kube.apply(secret)
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [audience],
            "expirationSeconds": 600,
            "boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": name, "uid": made["metadata"]["uid"]},
        },
    }
    path = f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{account_of(pod)}/token"
    token = str(ctx.kube.api.call("POST", path, body=body)["status"]["token"])
    ctx.kube.delete("v1", "Secret", name, pod.namespace, wait=True)
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }

    def invalid() -> bool:
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return not ctx.kube.api.call("POST", path, body=review)["status"].get("authenticated")

    ctx.until(invalid, "the API server calls a token invalid whose Secret is gone", LIMITS.readiness)
    return token


@check(
    id="ID-08",
    title="The authority refuses foreign tokens and keys, and signs within bounds",
    proves=("identity", "certificate authority"),
    judge=judge_bounds,
    ground=GROUND,
    requires=("ID-01",),
    reference="RFC 2986 (proof of possession); Kubernetes TokenReview audiences",
)
def bounds(ctx: Context) -> Bounds:
    """Ask honestly, for ten years, with a broken CSR, with a token for somebody else, and with a revoked one."""
    pod = ctx.pod("server")
    authority = authority_of(ctx, pod)
    if authority is None:
        return Bounds((), 0)
    where = authority
    token = bound_token(ctx, pod, where.audience)
    csr, _ = new_request((identity_of(ctx, pod),))

    def ask(what: str, **changes: Any) -> Request:
        return _asked(ctx, where, **{"token": token, "csr": csr, "what": what, **changes})

    requests = [ask("an honest request", welcome=True), ask("a wish for ten years", seconds=TEN_YEARS, welcome=True)]
    requests += [
        ask("a CSR whose signature is not by its key", csr=broken(csr)),
        ask("a token for another audience", token=bound_token(ctx, pod, "meshproof-elsewhere")),
        ask("a token for the API server", token=bound_token(ctx, pod, "")),
        ask("a revoked token", token=_revoked_token(ctx, pod, where.audience)),
    ]
    return Bounds(tuple(requests), where.longest)
