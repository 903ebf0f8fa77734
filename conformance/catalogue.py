"""The registry of checks and grounds. `conformance.checks` fills it on import; `checks()` reads it."""

from __future__ import annotations

import inspect
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
        raise UsageProblem(f"the ground {ground.name} is there twice", fix="give one of them another name")
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
    harmless: bool = False,
) -> Callable[[Callable[[Context], H]], Callable[[Context], H]]:
    """Register the decorated function as the body of a check: it collects what `judge` then judges.

    `UsageProblem` where that makes none. Whether what it `requires` is there, shows when all are registered.
    """

    def register(collect: Callable[[Context], H]) -> Callable[[Context], H]:
        if wrong := _wrong(id, ground):
            raise UsageProblem(f"{_file_of(collect)}: the check {id} {wrong}")
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
            harmless=harmless,
        )
        return collect

    return register


def _wrong(id: str, ground: object) -> str:  # noqa: A002 - the word of the catalogue
    """What is wrong with a check that is to be registered, after its id; "" for nothing."""
    if id in _checks:
        return f"is there twice, and first in {_file_of(_checks[id].collect)}"
    group, hyphen, number = id.partition("-")
    if not (hyphen and number.isdigit()):
        return "has no id of a group and a number, as in WT-01"
    if group not in CAPABILITIES:
        return f"is of no group that there is: {', '.join(CAPABILITIES)}"
    if not isinstance(ground, Ground):
        return f"has {ground!r} for a ground, which is none: give the object that `place` returned"
    if _grounds.get(ground.name) is not ground:
        return f"has the ground {ground.name}, which nobody has registered: hand it to `place` first"
    return ""


def _file_of(collect: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(collect), "__code__", None)
    return code.co_filename if code is not None else repr(collect)


def _filled() -> dict[str, Check]:
    import conformance.checks  # noqa: F401 - importing the checks registers them

    for one in _checks.values():
        for required in one.requires:
            if required not in _checks:
                raise UsageProblem(
                    f"{_file_of(one.collect)}: the check {one.id} requires {required}, which there is not"
                )
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
    return ground_of(one.ground).wide and not one.last and not one.harmless


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
