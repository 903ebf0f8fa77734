"""The registry of checks and grounds. `conformance.checks` fills it on import; `checks()` reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from reports.errors import UsageProblem

from .ground import Ground
from .model import Check, Judgement, Level
from .profiles import CAPABILITIES, FULL
from .profiles import profile as named

if TYPE_CHECKING:
    from .context import Context

__all__ = ["check", "check_of", "checks", "disturbs", "ground_of", "grounds", "in_turn", "place", "select"]

H = TypeVar("H")

_checks: dict[str, Check] = {}
_grounds: dict[str, Ground] = {}


def place(ground: Ground) -> Ground:
    """Register a ground."""
    if ground.name in _grounds:
        raise ValueError(f"the ground {ground.name} is there twice")
    _grounds[ground.name] = ground
    return ground


def check(
    *,
    id: str,  # noqa: A002 - the word of the catalogue
    title: str,
    proves: Sequence[str],
    judge: Callable[[H], Judgement],
    ground: Ground,
    requires: Sequence[str] = (),
    level: Level = "core",
    reference: str = "",
    anywhere: bool = False,
    last: bool = False,
) -> Callable[[Callable[[Context], H]], Callable[[Context], H]]:
    """Register the decorated function as the body of a check: it collects what `judge` then judges."""

    def register(collect: Callable[[Context], H]) -> Callable[[Context], H]:
        if id in _checks:
            raise ValueError(f"the check {id} is there twice")
        _checks[id] = Check(
            id=id,
            title=title,
            proves=tuple(proves),
            requires=tuple(requires),
            level=level,
            reference=reference,
            ground=ground.name,
            collect=collect,
            judge=judge,
            anywhere=anywhere,
            last=last,
        )
        return collect

    return register


def _filled() -> dict[str, Check]:
    import conformance.checks  # noqa: F401 - importing the checks registers them

    return _checks


def checks() -> tuple[Check, ...]:
    """Every check, in the catalogue's order: by capability, then by id."""
    groups = list(CAPABILITIES)
    return tuple(sorted(_filled().values(), key=lambda one: (groups.index(one.group), one.id)))


def in_turn(some: Iterable[Check]) -> tuple[Check, ...]:
    """Checks in the order in which they are judged: by ground, then as they come."""
    return tuple(sorted(some, key=lambda one: _grounds[one.ground].order))


def grounds() -> tuple[Ground, ...]:
    """Every ground, in order."""
    _filled()
    return tuple(sorted(_grounds.values(), key=lambda one: (one.order, one.name)))


def check_of(name: str) -> Check:
    """The check with this id."""
    return _filled()[name]


def ground_of(name: str) -> Ground:
    """The ground with this name."""
    _filled()
    return _grounds[name]


def disturbs(one: Check) -> bool:
    """Whether a check disturbs the mesh as a whole, and gives it back; `last` ones take it away."""
    return ground_of(one.ground).wide and not one.last


def select(only: str = "", skip: str = "", profile: str = FULL) -> tuple[Check, ...]:
    """The checks of a profile that the user asked for: ids or groups, separated by commas (`WT,CB-01`), in any case.

    Raises `UsageProblem` for a word that is neither, and where nothing is left.
    """
    every = checks()
    part = named(profile)
    wanted = _ids(only, every) if only.strip() else {one.id for one in every}
    dropped = _ids(skip, every)
    chosen = tuple(one for one in every if part.holds(one) and one.id in wanted and one.id not in dropped)
    if not chosen:
        raise UsageProblem(f"nothing of the profile {part.name} is left to judge", fix="see `meshproof list checks`")
    return chosen


def _ids(text: str, every: Iterable[Check]) -> set[str]:
    chosen: set[str] = set()
    pool = list(every)
    for word in (part.strip().upper() for part in text.split(",")):
        if not word:
            continue
        found = {one.id for one in pool if word in {one.id, one.group}}
        if not found:
            groups = ", ".join(dict.fromkeys(one.group for one in pool))
            raise UsageProblem(
                f"no check or group is called {word!r}", fix=f"groups: {groups}; ids such as {pool[0].id}"
            )
        chosen |= found
    return chosen
