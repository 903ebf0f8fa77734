"""Whom the mesh trusts, and how that changes: the phases of a rotation as a state machine without I/O.

A root is replaced in three steps, so that every proxy can verify every other at any moment: all proxies learn the new
root while the old issuer signs (distributing); the new issuer signs while both roots are trusted (signing); the old
root is dropped when not one proxy shows a certificate below it any more (stable). A new issuer below the same root
needs the second step only.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from refmesh.ca.signing import Keyring, LeafPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Phase", "Trust", "advance", "begin", "due", "edited", "initial", "revived"]

_STATE, _NEXT = "rotation.json", "next-"


class Phase(StrEnum):
    """How far a rotation is."""

    STABLE = "stable"
    DISTRIBUTING = "distributing"
    SIGNING = "signing"


@dataclass(frozen=True)
class Trust:
    """The mesh's keys and roots at one moment. `generation` grows with each change that workloads must follow."""

    keyring: Keyring
    """What signs."""
    others: tuple[bytes, ...] = ()
    """Roots (PEM) that are trusted beside the one of the keyring: a plugged-in bundle's, and those that come or go."""
    following: Keyring | None = None
    """What will sign once everybody trusts its root."""
    phase: Phase = Phase.STABLE
    kind: str = ""
    request: str = ""
    """The last request that was taken up; the same one is not taken up twice."""
    generation: int = 0
    since: float = 0.0
    """When this phase began, epoch seconds."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """Every trusted root, PEM, the signing one first."""
        return tuple(dict.fromkeys((self.keyring.root_pem, *self.others)))

    @property
    def bundle(self) -> bytes:
        """The same in one piece."""
        return b"".join(self.roots)

    def dump(self) -> dict[str, bytes]:
        """Return all of it as the data of a Secret."""
        data = self.keyring.dump() | {"root-cert.pem": self.bundle}
        if self.following is not None:
            data |= {f"{_NEXT}{key}": value for key, value in self.following.dump().items()}
        state = {
            "phase": self.phase.value,
            "kind": self.kind,
            "request": self.request,
            "generation": self.generation,
            "since": self.since,
        }
        return data | {_STATE: json.dumps(state).encode()}

    @classmethod
    def load(cls, data: Mapping[str, bytes], policy: LeafPolicy | None = None, *, dated: bool = True) -> Trust:
        """Read what `dump` wrote, or a plain set of keys; unless `dated`, also expired ones. Raises ValueError."""
        keyring = Keyring.load(data, policy=policy, dated=dated)
        pending = {key.removeprefix(_NEXT): value for key, value in data.items() if key.startswith(_NEXT)}
        following = Keyring.load(pending, policy=policy, dated=dated) if pending else None
        roots = x509.load_pem_x509_certificates(data["root-cert.pem"])
        others = tuple(one.public_bytes(serialization.Encoding.PEM) for one in roots if one != keyring.root)
        try:
            state = json.loads(data.get(_STATE, b"{}"))
            return cls(
                keyring,
                others,
                following,
                Phase(state.get("phase", Phase.STABLE)),
                str(state.get("kind", "")),
                str(state.get("request", "")),
                int(state.get("generation", 0)),
                float(state.get("since", 0.0)),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"its {_STATE} cannot be read: {error}") from error


def initial(keyring: Keyring, others: tuple[bytes, ...] = ()) -> Trust:
    """A fresh start. The generation is the time, so that it is above any that proxies may remember."""
    now = time.time()
    return Trust(keyring, others, generation=int(now), since=now)


def begin(trust: Trust, following: Keyring, request: str, now: float) -> Trust:
    """Start to replace what signs. Raises ValueError while another rotation is under way."""
    if trust.phase is not Phase.STABLE:
        raise ValueError(f"a rotation is under way ({trust.phase})")
    step = replace(trust, request=request, generation=trust.generation + 1, since=now)
    if following.root_pem == trust.keyring.root_pem:
        return replace(step, keyring=following, phase=Phase.SIGNING, kind="issuer")
    others = (following.root_pem, *trust.others)
    return replace(step, following=following, others=others, phase=Phase.DISTRIBUTING, kind="root")


def edited(trust: Trust, plugged: Trust, now: float) -> Trust:
    """Trust the roots of a bundle that was edited.

    Nobody is waited for: the issuer is the same, and leads to a root of the old bundle as it does to one of the new.
    """
    step = replace(trust, generation=trust.generation + 1, since=now, kind="bundle")
    return replace(step, keyring=plugged.keyring, others=plugged.others)


def due(trust: Trust, plugged: Trust | None, trust_domain: str, now: float) -> Trust | None:
    """The start of what nobody has to ask for: what is plugged in by now, or a new issuer before the old one ends."""
    if plugged is None:
        renewable = trust.keyring.renewable(now)
        return begin(trust, trust.keyring.renewed_issuer(trust_domain), trust.request, now) if renewable else None
    if plugged.keyring.issuer != trust.keyring.issuer:
        known = replace(trust, others=(*trust.others, *plugged.roots))
        return begin(known, plugged.keyring, trust.request, now)
    return edited(trust, plugged, now) if set(plugged.roots) != set(trust.roots) else None


def revived(trust: Trust, plugged: Trust | None, trust_domain: str, now: float) -> Trust | None:
    """What can sign in place of an issuer that has expired; None if there is nothing.

    Nobody is waited for: whatever the issuer signed has expired as well.
    """
    found: Trust | None = trust
    while found is not None and found.keyring.expired(now):
        stable = found.phase is Phase.STABLE
        found = (
            due(found, plugged, trust_domain, now) if stable else advance(found, now, plugged.roots if plugged else ())
        )
    return found


def advance(trust: Trust, now: float, lasting: tuple[bytes, ...] = ()) -> Trust:
    """The next phase; to be called when every workload has followed the present one.

    `lasting`: what is trusted in the end beside the root that signs.
    """
    step = replace(trust, generation=trust.generation + 1, since=now)
    if trust.phase is Phase.DISTRIBUTING and trust.following is not None:
        others = (trust.keyring.root_pem, *trust.others)
        return replace(step, keyring=trust.following, following=None, others=others, phase=Phase.SIGNING)
    return replace(step, others=lasting, following=None, phase=Phase.STABLE)
