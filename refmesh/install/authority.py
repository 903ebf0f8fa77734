"""`refmesh ca status` and `refmesh ca rotate`: the certificate authority as its replicas describe it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from refmesh.ca.rotation import REQUEST
from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.install.apply import apply
from refmesh.install.debug import debug_pages
from refmesh.install.options import NAMESPACE
from refmesh.kubeclient import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from refmesh.kubeclient import Kube

__all__ = ["KINDS", "rotate", "rows", "status", "summary"]

KINDS = ("root", "issuer")
_LOOK_SECONDS = 0.5
Page = dict[str, Any]


async def pages(kube: Kube) -> list[Page]:
    """What each replica says of the authority. Raises as `debug_pages` does."""
    return await debug_pages(kube, "certificates")


def status(replicas: Sequence[Page], now: datetime) -> dict[str, Any]:
    """One account of all replicas' pages: roots, issuer, phase, workloads by issuer, and what an outage would cost."""
    newest = max(replicas, key=lambda page: int(page["generation"]))
    workloads: dict[str, Any] = {}
    for page in replicas:
        for pod, row in page["workloads"].items():
            if pod not in workloads or row["generation"] >= workloads[pod]["generation"]:
                workloads[pod] = row
    alive = [row for row in workloads.values() if row["not_after"] > now.timestamp()]
    first = min((row["not_after"] for row in alive), default=None)
    return {
        "phase": newest["phase"],
        "kind": newest["kind"],
        "generation": newest["generation"],
        "replicas": len(replicas),
        "replicas_agree": len({(page["generation"], page["issuer"]["mark"]) for page in replicas}) == 1,
        "roots": newest["roots"],
        "issuer": newest["issuer"],
        "certificate_seconds": newest["default_seconds"],
        "longest_certificate_seconds": newest["maximum_seconds"],
        "workloads_by_issuer": dict(Counter(row["issuer"] for row in alive)),
        "waiting_for": sorted({pod for page in replicas for pod in page["waiting"]}),
        "outage_budget_seconds": None if first is None else round(first - now.timestamp()),
        "problem": next((page["problem"] for page in replicas if page["problem"]), ""),
    }


def rows(found: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """The same for a table: one fact a line."""
    by_issuer = found["workloads_by_issuer"]
    budget = found["outage_budget_seconds"]
    facts = [
        ("phase", f"{found['phase']} ({found['kind']})" if found["phase"] != "stable" else found["phase"]),
        *(("root", _line(root, now)) for root in found["roots"]),
        ("issuer", _line(found["issuer"], now)),
        ("replicas", f"{found['replicas']}, " + ("in agreement" if found["replicas_agree"] else "not in agreement")),
        ("certificates", f"live for {_words(found['certificate_seconds'])}"),
        *((f"workloads of {mark}", str(count)) for mark, count in sorted(by_issuer.items())),
        (
            "outage budget",
            "no certificate was signed yet" if budget is None else f"{_words(budget)} until the first ends",
        ),
    ]
    if found["waiting_for"]:
        facts.append(("waiting for", ", ".join(found["waiting_for"][:5]) + (" …" if found["waiting_for"][5:] else "")))
    if found["problem"]:
        facts.append(("problem", found["problem"]))
    return [{"what": what, "is": text} for what, text in facts]


def _line(certificate: dict[str, Any], now: datetime) -> str:
    left: timedelta = datetime.fromisoformat(certificate["not_after"]) - now
    return f"{certificate['mark']}  {certificate['name']}  for {left.days} days"


def _words(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


async def summary(kube: Kube) -> dict[str, Any]:
    """Ask all replicas."""
    return status(await pages(kube), datetime.now(UTC))


async def rotate(kube: Kube, kind: str, timeout: float, report: Callable[[str], None]) -> dict[str, Any]:
    """Ask for a new root or issuer, tell of each phase, and return when it is done and every replica agrees.

    Going on after an interruption is safe: the control plane finishes what was begun. Raises `EnvironmentProblem`.
    """
    before = await summary(kube)
    if before["phase"] != "stable":
        raise UsageProblem(
            f"A rotation is under way already (phase {before['phase']}).", fix="Look at refmesh ca status, and wait."
        )
    request = secrets.token_hex(6)
    metadata = {"name": REQUEST, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "refmesh"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"kind": kind, "id": request}}
    await apply(kube, body)
    deadline, said = time.monotonic() + timeout, ""
    while True:
        try:
            replicas = await pages(kube)
        except KubeError as error:
            raise EnvironmentProblem(f"The control plane does not answer: {error.problem}") from error
        found = status(replicas, datetime.now(UTC))
        # not that of an earlier request, which is told until the control plane has seen this one
        if request in found["problem"]:
            raise EnvironmentProblem(f"The control plane does not rotate: {found['problem']}.")
        done = all(page["request"] == request and page["phase"] == "stable" for page in replicas)
        if done and found["replicas_agree"]:
            return _verified(before, found, kind)
        waiting = f", waiting for {len(found['waiting_for'])} workloads" if found["waiting_for"] else ""
        if (line := f"{found['phase']}{waiting}") != said and found["phase"] != "stable":
            report(line)
            said = line
        if time.monotonic() > deadline:
            left = ", ".join(found["waiting_for"][:5]) or "nobody"
            raise EnvironmentProblem(
                f"The rotation is still in phase {found['phase']} after {timeout:g} s, waiting for {left}.",
                fix="It goes on by itself; pods that do not renew can be created anew. See refmesh ca status.",
            )
        await asyncio.sleep(_LOOK_SECONDS)


def _verified(before: dict[str, Any], after: dict[str, Any], kind: str) -> dict[str, Any]:
    """The end of a rotation, looked at once more. Raises `EnvironmentProblem` if it is not what was asked for."""
    roots = [root["mark"] for root in after["roots"]]
    kept = [root["mark"] for root in before["roots"] if root["mark"] in roots]
    if after["issuer"]["mark"] == before["issuer"]["mark"]:
        raise EnvironmentProblem("The control plane calls the rotation done, and signs with the old issuer.")
    if kind == "root" and (kept or len(roots) != 1):
        raise EnvironmentProblem("The control plane calls the rotation done, and trusts the old root.")
    return after
