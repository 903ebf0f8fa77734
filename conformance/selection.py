"""Which checks are judged, and which are excused by declaration: what all the flags mean together. Pure."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from conformance.adapters import Adapter
from conformance.catalogue import checks, disturbs, ground_of, in_turn, select
from conformance.ground import unfit
from conformance.model import Check
from conformance.profiles import FULL
from reports.choice import choose
from reports.errors import UsageProblem

__all__ = [
    "SPARED",
    "Selection",
    "Wish",
    "chosen",
    "excuses",
    "expect_error_rate",
    "features",
    "fitting",
    "left_out",
    "shuffled",
    "spared",
]

MOST_ALPHA = 0.05
"""The largest probability of a false alarm per check: with more, a verdict says little."""
SPARED = "it disturbs the mesh as a whole (its control plane, its root, its mode): --disruptive allows that"


@dataclass(frozen=True)
class Wish:
    """What the user asked for; commas separate."""

    only: str = ""
    skip: str = ""
    profile: str = FULL
    features: str = ""
    """What the mesh claims to offer; "": everything."""
    exempt: str = ""
    """Features, groups or checks that are not held against the mesh."""
    again: tuple[str, ...] | None = None
    """Ids of an earlier run that are to be judged again."""
    seed: int | None = None
    """Judge in an order drawn with this seed; None: as the grounds come about."""


@dataclass(frozen=True)
class Selection:
    """What is judged, in order. What is excused or spared is in it too: the report lists it with the reason."""

    checks: tuple[Check, ...]
    excused: Mapping[str, str] = field(default_factory=dict)
    """Id -> why it is not held against the mesh: it is unsupported by declaration."""
    spared: Mapping[str, str] = field(default_factory=dict)
    """Id -> why the mesh is not put to it unless somebody asks: it is left out, and not run."""

    @property
    def judged(self) -> tuple[Check, ...]:
        """The checks whose bodies run."""
        return tuple(one for one in self.checks if one.id not in self.excused and one.id not in self.spared)

    @property
    def grounds(self) -> tuple[str, ...]:
        """The grounds that are needed."""
        return tuple(dict.fromkeys(one.ground for one in self.judged))


def chosen(wish: Wish) -> Selection:
    """What a wish comes to. `UsageProblem` for a word that means nothing, and where nothing is left."""
    found = select(wish.only, wish.skip, wish.profile)
    if wish.again is not None:
        found = tuple(one for one in found if one.id in wish.again)
        if not found:
            raise UsageProblem("none of the checks that failed then are among the ones asked for now")
    excused = excuses(wish.features, wish.exempt)
    ordered = in_turn(found) if wish.seed is None else shuffled(found, wish.seed)
    return Selection(ordered, {one.id: excused[one.id] for one in ordered if one.id in excused})


def spared(selection: Selection, farewell: str, *, mesh: bool, disruptive: bool) -> Selection:
    """What is done to the mesh as a whole is done only on demand. Without a `mesh` there is nothing to spare.

    A check that takes the mesh away is judged only where it was asked for alone, with the command for that; one that
    e.g. stops the control plane for seconds, where the run may be `disruptive`.
    """
    if not mesh:
        return selection
    checks = selection.checks
    reasons = left_out(
        [one.id for one in checks],
        last={one.id for one in checks if one.last},
        disturbing={one.id for one in checks if disturbs(one)},
        alone=bool(farewell) and len(checks) == 1,
        disruptive=disruptive,
    )
    return replace(selection, spared={name: why for name, why in reasons.items() if name not in selection.excused})


def left_out(
    ids: Iterable[str], *, last: Container[str], disturbing: Container[str], alone: bool, disruptive: bool
) -> dict[str, str]:
    """Which of these the mesh is not put to, and why: those that take it away, and those that disturb it as a whole.

    `alone`: one check was asked for by itself, with the command that takes the mesh away.
    """
    reasons: dict[str, str] = {}
    for one in ids:
        if one in last and not alone:
            reasons[one] = (
                f"it takes the mesh off the cluster: ask for it alone, by --only {one} --set uninstall=COMMAND"
            )
        elif one in disturbing and not disruptive:
            reasons[one] = SPARED
    return reasons


def fitting(selection: Selection, adapter: Adapter) -> Selection:
    """The same; the checks of a ground whose pods the mesh does not start are unsupported, and it is not created."""
    found = {one.id: unfit(ground_of(one.ground), adapter) for one in selection.checks}
    unfitting = {name: why for name, why in found.items() if why and name not in selection.spared}
    return replace(selection, excused={**unfitting, **selection.excused})


def features(among: Iterable[Check] | None = None) -> tuple[str, ...]:
    """Every feature that a check proves."""
    return tuple(dict.fromkeys(word for one in (checks() if among is None else among) for word in one.proves))


def excuses(claimed: str, exempt: str) -> dict[str, str]:
    """Id -> reason, for the checks of features that the mesh does not claim or the user exempts."""
    every = checks()
    known = features(every)
    claims = {_known(word, known, "feature") for word in _words(claimed)}
    found: dict[str, str] = {}
    if claims:
        for one in every:
            if missing := [word for word in one.proves if word not in claims]:
                found[one.id] = f"the mesh does not claim: {', '.join(missing)}"
    for word in _words(exempt):
        hit = _meant(word, every, known)
        found |= {one.id: f"exempted by --exempt {word}" for one in hit}
    return found


def _meant(word: str, every: Sequence[Check], known: Sequence[str]) -> list[Check]:
    upper = word.upper()
    if named := [one for one in every if upper in (one.id, one.group)]:
        return named
    feature = _known(word, known, "feature, check or group")
    return [one for one in every if feature in one.proves]


def expect_error_rate(alpha: float) -> None:
    """`UsageProblem` for what no check can be judged with as its probability of a false alarm."""
    if not 0 < alpha <= MOST_ALPHA:
        raise UsageProblem(f"--alpha {alpha:g} is no error rate", fix=f"give a number above 0, at most {MOST_ALPHA:g}")


def _known(word: str, known: Sequence[str], what: str) -> str:
    """The feature that a word names, in any case."""
    return next((one for one in known if one.lower() == word.lower()), None) or choose(word, known, what)


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def shuffled(found: Sequence[Check], seed: int) -> tuple[Check, ...]:
    """The checks in an order that the seed draws; those of one ground stay together, and the wide ones come last."""
    draw = random.Random(seed)
    grounds = list(dict.fromkeys(one.ground for one in found))
    draw.shuffle(grounds)
    grounds.sort(key=lambda name: ground_of(name).wide)
    ordered: list[Check] = []
    for ground in grounds:
        of_ground = [one for one in found if one.ground == ground]
        draw.shuffle(of_ground)
        ordered += of_ground
    return tuple(ordered)
