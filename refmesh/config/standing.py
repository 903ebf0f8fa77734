"""What became of an object of Istio's kinds, and how its status says so, in the form of Istio's `IstioStatus`.

Conditions: `Accepted` (is anything of it in force), `ResolvedRefs` (is all that it names there; for kinds that name
something) and Istio's `PassedAnalysis` (no error at all; `validationMessages` list them). Istio's `Reconciled`, that
every proxy has taken it in, is not written: one replica does not know of the proxies of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from refmesh.config.conditions import Judgement, condition, conditions_of, entries, merge

__all__ = [
    "ACCEPTED",
    "CONDITIONS",
    "PASSED",
    "RESOLVED",
    "Finding",
    "Standing",
    "wanted_istio_status",
    "without_standing",
]

ACCEPTED, RESOLVED, PASSED = "Accepted", "ResolvedRefs", "PassedAnalysis"
CONDITIONS = (ACCEPTED, RESOLVED, PASSED)
"""The types that refmesh writes."""
_MOST_MESSAGES = 16
_MOST_CHARACTERS = 1024
_DOCUMENTED = {
    "Invalid": ("SchemaValidationError", "IST0106"),
    **dict.fromkeys(
        ("HostNotFound", "GatewayNotFound", "SubsetNotFound", "PortNotFound", "TargetNotFound"),
        ("ReferencedResourceNotFound", "IST0101"),
    ),
}
"""Istio's names and numbers of messages, by the reason, for those that it has."""
_PAGES = "https://istio.io/latest/docs/reference/config/analysis/"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as whoever wrote the object will want it. `reason` is one word in CamelCase."""

    reason: str
    message: str
    level: Literal["ERROR", "WARNING"] = "ERROR"


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of one object."""

    blocked: tuple[Finding, ...] = ()
    """Why nothing of it is in force; empty where something is."""
    unresolved: tuple[Finding, ...] = ()
    """What it names that is not there."""
    notes: tuple[Finding, ...] = ()
    """What of it comes to nothing, while the rest is in force."""
    refers: bool = False
    """Whether it names others at all, as far as it could be read."""
    generation: int = 0
    """Which of the object's was judged."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.blocked, *self.unresolved, *self.notes)))


def wanted_istio_status(standing: Standing, raw: Mapping[str, Any], now: str) -> dict[str, Any] | None:
    """The merge patch for `status` of an object as the API server has it; None where all is said already.

    `now` is RFC 3339. Conditions of other types stay.
    """
    generation, status = standing.generation, raw.get("status")
    before = status if isinstance(status, Mapping) else {}
    judged = _judgements(standing)
    # What an object named before it was changed, say, is no longer spoken of.
    stale = set(CONDITIONS) - {item[0] for item in judged}
    kept = [item for item in conditions_of(before) if item["type"] not in stale]
    conditions = merge([condition(*item, generation, now) for item in judged], {"conditions": kept})
    messages = [_message(item) for item in standing.findings[:_MOST_MESSAGES]]
    told = entries(before, "validationMessages")
    if (
        before.get("observedGeneration") == generation
        and _said(before) == _said({"conditions": conditions})
        and len(told) == len(messages)
        and all(map(_is_told, told, messages))
    ):
        return None
    return {"observedGeneration": generation, "conditions": conditions, "validationMessages": messages or None}


def without_standing(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """The merge patch that takes back what refmesh said in the `status` of an object; None where it said nothing.

    `Accepted` is always among what refmesh says; without it the rest, such as `PassedAnalysis`, is Istio's own.
    """
    before = conditions_of(raw.get("status"))
    if all(item["type"] != ACCEPTED for item in before):
        return None
    others = [item for item in before if item["type"] not in CONDITIONS]
    return {"observedGeneration": None, "conditions": others or None, "validationMessages": None}


def _judgements(standing: Standing) -> list[Judgement]:
    if standing.blocked:
        found: list[Judgement] = [(ACCEPTED, False, standing.blocked[0].reason, _sentences(standing.blocked))]
    elif standing.notes:
        found = [(ACCEPTED, True, "Accepted", f"in force, but not all of it: {_sentences(standing.notes)}")]
    else:
        found = [(ACCEPTED, True, "Accepted", "in force")]
    if standing.refers and standing.unresolved:
        found.append((RESOLVED, False, standing.unresolved[0].reason, _sentences(standing.unresolved)))
    elif standing.refers:
        found.append((RESOLVED, True, "ResolvedRefs", "all that it names is known"))
    errors = sum(item.level == "ERROR" for item in standing.findings)
    warnings = len(standing.findings) - errors
    if errors:
        word = f"errors: {errors}, warnings: {warnings}; see validationMessages"
        return [*found, (PASSED, False, "errorsFound", word)]
    return [*found, (PASSED, True, "noErrorsFound", f"warnings: {warnings}" if warnings else "nothing was found")]


def _sentences(findings: tuple[Finding, ...]) -> str:
    return "; ".join(item.message for item in findings)


def _message(finding: Finding) -> dict[str, Any]:
    """The finding as Istio's AnalysisMessageBase, with the sentence where Kiali looks for it."""
    name, code = _DOCUMENTED.get(finding.reason, (finding.reason, finding.reason))
    page = {"documentationUrl": f"{_PAGES}{code.lower()}/"} if code != finding.reason else {}
    described = finding.message[:_MOST_CHARACTERS]
    return {"level": finding.level, "type": {"code": code, "name": name}, **page, "description": described}


def _said(status: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What conditions say, without the fields that a definition from elsewhere may not keep."""
    return sorted(
        tuple(str(item.get(key)) for key in ("type", "status", "reason", "message")) for item in conditions_of(status)
    )


def _is_told(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a message is the wanted one, as far as a definition from elsewhere keeps it."""
    code, described = wanted["type"]["code"], wanted["description"]
    kind = present.get("type")
    same = present.get("level") == wanted["level"] and isinstance(kind, Mapping) and kind.get("code") == code
    return same and bool(present.get("description", described) == described)
