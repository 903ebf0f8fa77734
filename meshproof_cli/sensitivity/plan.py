"""What is tried, and which checks first: decided before anything is installed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from meshproof_cli.sensitivity.aims import SAYS, UNSEEN, aimed
from reports.choice import choose
from reports.errors import UsageProblem
from reports.sensitivity import Subject, Trial

__all__ = ["AFFECTED", "LAST", "Stage", "pick", "stages", "subjects", "waiting"]

CLEAN = "clean"

AFFECTED: Mapping[str, tuple[str, ...]] = {
    "injection": ("INJ",),
    "mtls": ("MTLS", "INJ"),
    "identity": ("ID", "MTLS"),
    "certificates": ("ID", "MTLS"),
    "authorization": ("AZ",),
    "validation": ("AZ", "RT"),
    "routing": ("RT", "WT", "RS"),
    "discovery": ("LB", "WT", "RT", "LC", "TEL"),
    "weights": ("WT",),
    "circuit-breaking": ("CB",),
    "resilience": ("RS", "CB"),
    "load-balancing": ("LB", "WT"),
    "telemetry": ("TEL",),
    "gateway": ("GW",),
    "lifecycle": ("LC",),
}
"""Capability of a defect -> the groups of checks that speak of it. They are judged first."""

LAST = ("LC-06",)
"""Checks that take the mesh off the cluster: nothing can be judged after one."""


@dataclass(frozen=True)
class Stage:
    """Checks that are judged together."""

    ids: tuple[str, ...]
    affected: bool
    whole: bool = False
    """Every one is asked, also once one has found the defect."""


def subjects(listed: Iterable[Mapping[str, str]], clean: int) -> tuple[Subject, ...]:
    """Every subject: refmesh's own list (`refmesh defects -o json`), and clean runs. Defects come first."""
    found = [
        Subject(
            one["name"],
            "equivalent" if one.get("kind") == "equivalent" else "defect",
            one["capability"],
            one.get("summary", ""),
            one.get("seam", ""),
            UNSEEN.get(one["name"], ""),
            aimed(one["name"]),
            SAYS.get(one["name"], ""),
        )
        for one in listed
    ]
    found.sort(key=lambda one: one.kind != "defect")
    runs = (Subject(f"{CLEAN}-{number}", "clean", CLEAN, "The sound mesh.") for number in range(1, clean + 1))
    return (*found, *runs)


def pick(every: Sequence[Subject], wanted: Sequence[str], *, equivalents: bool) -> tuple[Subject, ...]:
    """The subjects that the user asked for: names or capabilities of defects; no words, all of them.

    `none` stands for no defect. Raises `UsageProblem` for a word that means nothing.
    """
    defects = [one for one in every if one.kind == "defect"]
    if not wanted:
        chosen = {one.name for one in every}
    elif list(wanted) == ["none"]:
        chosen = {one.name for one in every if one.kind != "defect"}
    else:
        names = [*(one.name for one in every), *dict.fromkeys(one.capability for one in defects)]
        words = {choose(word, names, "defect or capability", "see `meshproof refmesh defects`") for word in wanted}
        chosen = {one.name for one in every if one.name in words or one.capability in words or one.kind == CLEAN}
        equivalents = True  # only those named are left
    left = tuple(one for one in every if one.name in chosen and (equivalents or one.kind != "equivalent"))
    if not left:
        raise UsageProblem("there is nothing to try", fix="name a defect, or ask for equivalents or clean runs")
    return left


def affected(subject: Subject, groups: Iterable[str]) -> tuple[str, ...]:
    """The groups that speak of a subject's capability; all of them where the capability is nobody's."""
    known = list(dict.fromkeys(groups))
    own = tuple(one for one in AFFECTED.get(subject.capability, ()) if one in known)
    return own or tuple(known)


def stages(subject: Subject, checks: Mapping[str, str], *, affected_only: bool = False) -> tuple[Stage, ...]:
    """The checks (id -> group) in the order in which they are judged: group by group those affected, then the rest.

    The checks that must find the defect come before all. An equivalent and the sound mesh have no affected group:
    everything is judged at once. With `affected_only` the rest is left out. What takes the mesh away is judged by
    itself, after all else; of a defect that it must find, instead of all else.
    """
    ends = tuple(Stage((one,), affected=True) for one in LAST if one in checks)
    stay = {one: group for one, group in checks.items() if one not in LAST}
    if subject.kind != "defect":
        return tuple(one for one in (Stage(tuple(stay), affected=False), *ends) if one.ids)
    aims = [one for one in aimed(subject.name) if one in checks]
    if set(aims) & set(LAST):
        return ends
    own = affected(subject, checks.values())
    left = {one: group for one, group in stay.items() if one not in aims}
    first = [Stage(tuple(aims), affected=True, whole=True)]
    first += [Stage(tuple(one for one, its in left.items() if its == group), affected=True) for group in own]
    rest = Stage(tuple(one for one, group in left.items() if group not in own), affected=False)
    return tuple(one for one in (*first, *(() if affected_only else (rest, *ends))) if one.ids)


def waiting(
    chosen: Sequence[Subject], done: Sequence[Trial], *, image: str, checks: Iterable[str], stale: bool = False
) -> tuple[Subject, ...]:
    """The subjects that still need a trial.

    A trial of another image is of another product and is made again, but with `stale`; so is one that broke off, one
    that ended without a kill before checks that are there now, and one in which a check was not asked that must find
    the defect.
    """
    wanted = set(checks)

    def whole(trial: Trial) -> bool:
        aims, asked = wanted & set(aimed(trial.subject.name)), set(trial.verdicts)
        return aims <= asked and bool(trial.failed or wanted <= asked or aims & set(LAST))

    sound = {one.subject.name for one in done if not one.problem and (stale or one.image == image) and whole(one)}
    return tuple(one for one in chosen if one.name not in sound)
