"""Distribution over pytest-xdist's workers: all checks of one ground go to the same worker, in their order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling, LoadGroupScheduling, LoadScopeScheduling

from conformance.catalogue import checks, ground_of, grounds, in_turn

if TYPE_CHECKING:
    from conformance.model import Check

__all__ = ["ByGround", "checks_in", "scope_of", "together"]

_ITEM = "::test_mesh["
_ID = re.compile(r"(?<![A-Za-z])[A-Z]+-\d+")
_WIDE = "wide"
_DIST = {"loadscope": LoadScopeScheduling, "loadfile": LoadFileScheduling, "loadgroup": LoadGroupScheduling}


def checks_in(ids: Iterable[str]) -> tuple[Check, ...]:
    """The checks that the ids of test items name, as they are handed out."""
    named = {found.id for found in map(_named, ids) if found is not None}
    return in_turn(one for one in checks() if one.id in named)


def _named(item: str) -> Check | None:
    """The check that the id of an item names, also where other plugins have added to its brackets: `[eu-WT-01-1-2]`."""
    words = _ID.findall(item.partition(_ITEM)[2])
    return next((one for one in checks() if one.id in words), None) if words else None


def together(named: Sequence[str | None]) -> list[int]:
    """The places of items by the names of their grounds (None: an item without one), in the order to run them.

    Each ground's items follow its first one, and the wide grounds come last.
    """
    first: dict[str | int, int] = {}
    keys = []
    for place, name in enumerate(named):
        wide = name is not None and ground_of(name).wide
        keys.append((wide, first.setdefault(place if name is None else name, place)))
    return sorted(range(len(named)), key=keys.__getitem__)


def scope_of(check: Check) -> str:
    """What is handed out together with a check: its ground, or all the wide ones."""
    return _WIDE if ground_of(check.ground).wide else check.ground


class ByGround(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Hands out whole grounds in their order, in which they are created as well.

    The wide ones come last, and all to one worker: they wait until no other check is judged, and a worker that waits
    for its turn judges nothing meanwhile. What is none of ours is kept together as `--dist` says.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self._order: dict[str, float] = {one.name: one.order for one in grounds() if not one.wide}

    def _split_scope(self, nodeid: str) -> str:
        check = _named(nodeid)
        if check is not None:
            return scope_of(check)
        theirs = _DIST.get(self.config.getvalue("dist"))
        scope: str = nodeid if theirs is None else theirs._split_scope(self, nodeid)  # noqa: SLF001 - our own base's too
        return scope

    def remove_node(self, node: Any) -> str | None:
        """Hand out again what a worker had not begun, where it has died. Returns the item that it died in, if any.

        That item is not run again: a check is judged once. Nor are the others of its ground, which nobody has tidied
        up: what a check leaves there when it is cut off would be held against the mesh.
        """
        workload = self.assigned_work.pop(node)
        begun = next((scope for scope, unit in workload.items() if not all(unit.values())), None)
        if begun is None:
            return None
        items = workload.pop(begun)
        crashed: str = next(item for item, done in items.items() if not done)
        if _named(crashed) is not None:
            items = {}
        else:
            items[crashed] = True
        # What is done is not handed out again: a worker that is given nothing to do asks for nothing more.
        self.workqueue.update({
            scope: unit for scope, unit in {begun: items, **workload}.items() if not all(unit.values())
        })  # fmt: skip
        for one in self.assigned_work:
            self._reschedule(one)
        return crashed

    def _assign_work_unit(self, node: Any) -> None:
        """The next unit to a worker; what is none of ours comes right before the wide ones."""
        first = min(self.workqueue, key=lambda scope: (scope == _WIDE, self._order.get(scope, math.inf)))
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)
