"""Histories of what a certificate authority signs and of where keys are, and the judges of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.certificates import Answer
from conformance.model import Judgement, failed, inconclusive, passed, proven
from reports.model import Evidence

__all__ = ["Bounds", "Deposit", "Keys", "Pair", "Request", "judge_bounds", "judge_keys", "judge_pairs"]

CLOCKS = 300
"""Seconds by which a certificate may reach beyond what was asked for: it is backdated, and clocks differ."""


@dataclass(frozen=True)
class Pair:
    """One workload: what was declared for it, what it shows, what its token is worth."""

    workload: str
    declared: str
    shown: tuple[str, ...]
    key: str
    """Fingerprint of the public key in the certificate that it shows."""
    signed: tuple[str, ...] | None
    """Names in a certificate signed for its token; None where nobody signs any."""
    error: str = ""
    """How the handshake with it ended where it did not come about."""

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "workload": self.workload,
            "declared": self.declared,
            "shows": ", ".join(self.shown),
            "key": self.key[:16],
            "signed for its token": "" if self.signed is None else ", ".join(self.signed),
        }


def judge_pairs(history: Sequence[Pair]) -> Judgement:
    """Different service accounts have different identities and keys, each the declared one."""
    evidence = Evidence("workloads with service accounts of their own", [one.row for one in history])
    if len({one.declared for one in history}) < 2:
        return inconclusive("fewer than two identities were declared", evidence)
    for one in history:
        if one.error == "timeout":
            return inconclusive(f"a handshake with {one.workload} ran into a timeout", evidence)
        if one.shown != (one.declared,):
            shown = ", ".join(one.shown) or "no certificate with a name"
            return (proven if one.shown else failed)(
                f"{one.workload} shows {shown}, declared is {one.declared}", evidence
            )
    if len({one.key for one in history}) < len(history):
        return proven("two workloads have the same key", evidence)
    for one in history:
        if one.signed is None:
            return inconclusive("the certificate authority was not asked: one proof is not two", evidence)
        if one.signed != (one.declared,):
            signed = ", ".join(one.signed) or "nothing"
            return (proven if one.signed else failed)(
                f"the token of {one.workload} is worth {signed}, declared is {one.declared}", evidence
            )
    return passed(f"{len(history)} service accounts, {len(history)} identities, each with a key of its own", evidence)


# -- what is signed ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One request to the authority, in words, and its answer."""

    what: str
    welcome: bool
    signed: bool
    refusal: str = ""
    lifetime: float | None = None
    """Seconds from the signing to the expiry of what was signed."""
    may_sign: bool = False
    """Whether what was signed is a certificate of an authority."""

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "request": self.what,
            "wanted": "a certificate" if self.welcome else "a refusal",
            "signed": self.signed,
            "refusal": self.refusal,
            "lifetime s": "" if self.lifetime is None else round(self.lifetime),
            "may sign": self.may_sign,
        }


@dataclass(frozen=True)
class Bounds:
    """What the authority made of honest and dishonest requests."""

    requests: tuple[Request, ...]
    longest: float
    """The longest lifetime that the mesh declares, seconds."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("requests to the certificate authority", [one.row for one in self.requests])


def judge_bounds(history: Bounds) -> Judgement:
    """Honest requests are signed within bounds, the others are refused."""
    welcome = [one for one in history.requests if one.welcome]
    others = [one for one in history.requests if not one.welcome]
    if not welcome or not others:
        return failed("nobody signs certificates", history.evidence)
    for one in others:
        if one.signed:
            return proven(f"a certificate was signed for {one.what}", history.evidence)
    for one in history.requests:
        if one.may_sign:
            return proven(f"what was signed for {one.what} may itself sign certificates", history.evidence)
        if one.lifetime is not None and one.lifetime > history.longest + CLOCKS:
            days = f"{one.lifetime / 86_400:.0f} days"
            return proven(f"what was signed for {one.what} lives for {days}, {history.longest:.0f} s are declared",
                          history.evidence)  # fmt: skip
    # A wish beyond the bounds may be cut or refused; an ordinary one must be granted, or the refusals prove nothing.
    if not welcome[0].signed:
        return failed(f"{welcome[0].what} was refused: {welcome[0].refusal}", history.evidence)
    return passed(f"refused: {', '.join(one.what for one in others)}; lifetimes are capped", history.evidence)


# -- keys --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deposit:
    """A private key that the API server hands out."""

    where: str
    kind: str
    identities: tuple[str, ...]
    """Names of workloads in certificates beside the key."""
    of_workload: bool
    """Whether it is the key of a certificate that a workload shows."""


@dataclass(frozen=True)
class Keys:
    """Where private keys were looked for and what was found."""

    workloads: tuple[str, ...]
    """Workloads that show a certificate of the mesh."""
    looked_at: int
    """Secrets and ConfigMaps."""
    dumps: int
    """Files of the proxies' own configuration that could be read."""
    deposits: tuple[Deposit, ...]
    honest: Answer | None
    """The authority's answer to a workload's request, which holds no key but the caller's public one."""
    late: int = 0
    """Handshakes with workloads that ran into a timeout: which key is theirs is not known."""
    unread: int = 0
    """Files of the proxies' configuration that could not be read."""
    local: int = 0
    """Sources of workloads' keys that proxies name, and that are within their pods."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        rows: list[Any] = [
            {"where": one.where, "kind": one.kind, "identities": ", ".join(one.identities), "in use": one.of_workload}
            for one in self.deposits
        ]
        facts: dict[str, Any] = {
            "workloads with a certificate": ", ".join(self.workloads),
            "Secrets and ConfigMaps looked at": self.looked_at,
            "proxy configurations looked at": self.dumps,
            "proxy configurations that could not be read": self.unread,
            "sources of keys within the pods": self.local or "not visible",
        }
        return Evidence("search", facts), Evidence("private keys found", rows)


def judge_keys(history: Keys) -> Judgement:
    """No Secret, ConfigMap or proxy configuration holds a workload's key, and the authority never needs to see one."""
    if not history.workloads and not history.late:
        return failed("no workload shows a certificate of the mesh", *history.evidence)
    if not history.looked_at:
        return inconclusive("no Secret and no ConfigMap could be read", *history.evidence)
    # What is found counts wherever it lies; that nothing is found counts only where everything could be looked at.
    for one in history.deposits:
        if one.of_workload:
            return proven(f"{one.where} holds the key of a certificate that a workload shows", *history.evidence)
        if one.identities:
            return proven(f"{one.where} holds a key with a certificate for {one.identities[0]}", *history.evidence)
        if one.kind == "proxy configuration":
            return proven(f"{one.where} holds a private key", *history.evidence)
    if history.honest is None or not history.honest.issued:
        return inconclusive("the certificate authority was not asked: one proof is not two", *history.evidence)
    if not history.honest.own_key:
        return proven("the authority signs for a key of its own making", *history.evidence)
    if history.late:
        return inconclusive(f"{history.late} handshakes with workloads ran into a timeout", *history.evidence)
    if not history.dumps:
        return inconclusive("no proxy's configuration could be read: a key may be there", *history.evidence)
    if history.unread:
        reason = f"{history.unread} pages of proxies could not be read: a key may be there"
        return inconclusive(reason, *history.evidence)
    # Proxies redact keys: that none is on their pages proves nothing, whence they say to have it does.
    whence = "have theirs from within the pods" if history.local else "do not say whence they have theirs"
    return passed(
        f"no key of a workload in {history.looked_at} Secrets and ConfigMaps; proxies {whence}; the authority signs "
        "keys it never sees",
        *history.evidence,
    )
