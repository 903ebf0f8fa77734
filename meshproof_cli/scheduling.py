"""A pytest plugin of `run`: hands the checks of one ground to one worker, whatever becomes of xdist's own group suffix.

`--dist loadgroup` writes the group into the item's private id, which pytest 9.2 and later no longer read.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

__all__ = ["ByGround", "pytest_xdist_make_scheduler"]

_CHECK = re.compile(r"\[([A-Z]+-\d+)\]")


class ByGround(LoadScopeScheduling):  # type: ignore[misc]
    """Distributes whole grounds."""

    def __init__(self, config: pytest.Config, log: Any, grounds: dict[str, str]) -> None:
        super().__init__(config, log)
        self._grounds = grounds

    def _split_scope(self, nodeid: str) -> str:
        found = _CHECK.search(nodeid)
        return self._grounds.get(found[1], nodeid) if found else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGround:
    """xdist's own hook: the first scheduler that a plugin gives is taken."""
    from conformance.catalogue import checks

    return ByGround(config, log, {one.id: one.ground for one in checks()})
