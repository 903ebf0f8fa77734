"""Keeps every replica's authority in step with the Secret, and moves rotations on. The thin edge around `trust`.

A rotation is asked for by ConfigMap `refmesh-ca-rotation` (`kind`: root or issuer; `id`: any text that was not used
before), by new content of the plugged-in Secret, or by an issuer of refmesh's own whose end is near. Whichever replica
finds that all workloads have followed writes the next phase; the API server lets only one of them win.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp

from refmesh.ca import trust as trusts
from refmesh.ca.authority import SECRET, plugged, publish_roots, read, replace_secret
from refmesh.ca.ledger import Ledger, laggards
from refmesh.ca.signing import Keyring
from refmesh.ca.trust import Phase
from refmesh.errors import EnvironmentProblem, RefmeshError
from refmesh.kubeclient import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from refmesh.ca.authority import Authority
    from refmesh.ca.ledger import Entry
    from refmesh.ca.replicas import Page
    from refmesh.ca.trust import Trust
    from refmesh.kubeclient import Kube

__all__ = ["REQUEST", "Rotator", "followed", "wanted"]

log = logging.getLogger(__name__)

REQUEST = "refmesh-ca-rotation"
"""ConfigMap that asks for a rotation."""
_ENDING = (
    "the issuing certificate, or one above it, ends soon ({:%Y-%m-%d} at the latest), and nothing here can renew it"
)
_IDLE_SECONDS, _BUSY_SECONDS = 2.0, 0.5


class Rotator:
    """One replica's share. `pods` gives the meshed pods (`namespace/name`), `others` what the other replicas tell.

    Where one of them does not answer, `others` raises, and everybody waits: it may know better.
    """

    def __init__(
        self,
        kube: Kube,
        authority: Authority,
        pods: Callable[[], Iterable[str]],
        others: Callable[[], Awaitable[Iterable[Page]]],
    ) -> None:
        self._kube, self._authority = kube, authority
        self._pods, self._others = pods, others
        self.waiting: list[str] = []
        """Workloads that a rotation under way waits for; for the status page."""
        self.problem = ""
        """Why a request was not taken up."""
        self._published = authority.trust_bundle_pem()
        self._resumed = authority.trust.phase is Phase.STABLE

    async def run(self) -> None:
        """Go on until cancelled; a failure is said and tried again."""
        while True:
            try:
                await self.step()
            except Conflict:
                log.debug("another replica wrote first")
            except (RefmeshError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("the CA's state cannot be followed: %s", error)
            busy = self._authority.trust.phase is not Phase.STABLE
            await asyncio.sleep(_BUSY_SECONDS if busy else _IDLE_SECONDS)

    async def step(self) -> None:
        """Read the Secret, adopt what others wrote, take up a request, or write the next phase."""
        authority, kube = self._authority, self._kube
        secret = await kube.get("v1", "secrets", SECRET, authority.namespace)
        if secret is None:
            return  # somebody deleted it; what is in memory goes on signing, and a restart makes new keys
        trust = read(secret, authority.trust.keyring.policy)
        await self._adopt(trust)
        following = await self._next(trust)
        if following is not None:
            await replace_secret(kube, secret, following, authority.namespace)
            log.info("certificate authority: %s -> %s (%s)", trust.phase, following.phase, following.kind)
            await self._adopt(following)

    async def _adopt(self, trust: Trust) -> None:
        if stale(self._authority.trust, trust):
            self._authority.adopt(trust)
        if self._published != (bundle := self._authority.trust_bundle_pem()):
            await publish_roots(self._kube, self._authority.namespace, bundle.decode())
            self._published = bundle

    async def _next(self, trust: Trust) -> Trust | None:
        now = time.time()
        if trust.keyring.expired(now):
            self.waiting = []
            own, why = None, ""
            try:
                own = await plugged(self._kube, self._authority.namespace, trust.keyring.policy)
            except EnvironmentProblem as problem:  # mostly the one that has expired, still there
                why = f" ({problem.problem})"
            revived = trusts.revived(trust, own, self._authority.trust_domain, now)
            self._say("" if revived else f"the issuing certificate has expired: put a new one into Secret cacerts{why}")
            return revived
        if trust.phase is Phase.STABLE:
            self.waiting = []
            return await self._begin(trust, now)
        if not self._resumed:
            # This replica does not know what was signed before it started: everybody is asked to come again.
            self._resumed = True
            return replace(trust, generation=trust.generation + 1)
        entries, in_use = await self._followers()
        maximum = trust.keyring.policy.maximum.total_seconds()
        self.waiting = still_waited_for(self._pods(), entries, in_use, trust, now=now, maximum=maximum)
        if not followed(self.waiting):
            return None
        own = await plugged(self._kube, self._authority.namespace, trust.keyring.policy)
        return trusts.advance(trust, now, own.roots if own is not None else ())

    async def _begin(self, trust: Trust, now: float) -> Trust | None:
        own = await plugged(self._kube, self._authority.namespace, trust.keyring.policy)
        following = trusts.due(trust, own, self._authority.trust_domain, now)
        if following is not None:
            return following
        asked = await self._kube.get("v1", "configmaps", REQUEST, self._authority.namespace)
        kind, request = wanted(asked)
        if not request or request == trust.request:
            ends = trust.keyring.issuer.not_valid_after_utc
            self._say(_ENDING.format(ends) if trust.keyring.ending(now) else "")
            return None
        try:
            keyring = self._made(trust, kind, given=own is not None)
        except ValueError as error:
            self._say(f"rotation {request!r} cannot be done: {error}")
            return None
        return trusts.begin(trust, keyring, request, now)

    def _made(self, trust: Trust, kind: str, *, given: bool) -> Keyring:
        if kind == "issuer":
            return trust.keyring.renewed_issuer(self._authority.trust_domain)
        if kind == "root" and given:
            raise ValueError("the root is not refmesh's: put the new one into the Secret that was plugged in")
        if kind == "root":
            return Keyring.create(self._authority.trust_domain, policy=trust.keyring.policy)
        raise ValueError(f"kind is {kind!r}; it is root or issuer")

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    async def _followers(self) -> tuple[dict[str, Entry], dict[str, int]]:
        """What all replicas signed, and know to be in use."""
        ledger = self._authority.ledger
        pages: list[Mapping[str, Any]] = [ledger.rows()]
        in_use = ledger.in_use()
        for page in await self._others():
            pages.append(page["workloads"])
            for pod, generation in page["in_use"].items():
                in_use[pod] = max(generation, in_use.get(pod, 0))
        return Ledger.merged(pages), in_use


def stale(known: Trust, found: Trust) -> bool:
    """Whether what was read is not what this replica signs with."""
    return known.generation != found.generation or known.bundle != found.bundle


def followed(waiting: list[str]) -> bool:
    """Whether a phase may end: nobody is waited for."""
    return not waiting


def still_waited_for(
    pods: Iterable[str],
    entries: Mapping[str, Entry],
    in_use: Mapping[str, int],
    trust: Trust,
    *,
    now: float,
    maximum: float,
) -> list[str]:
    """The pods that may still show, or trust, what is about to go.

    A certificate that has expired need not be waited for; nor one that nobody knows, once the longest lifetime is over.
    """
    behind = laggards(pods, entries, in_use, trust.generation, now)
    if now > trust.since + maximum:
        return []
    return [pod for pod in behind if pod not in entries or entries[pod].not_after > now]


def wanted(asked: Mapping[str, Any] | None) -> tuple[str, str]:
    """Kind and id of a request; empty where there is none."""
    data = (asked or {}).get("data") or {}
    return str(data.get("kind", "")), str(data.get("id", ""))
