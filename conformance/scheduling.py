"""Distribution over pytest-xdist's workers: all checks of one ground go to the same worker, in their order."""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from conformance.catalogue import checks

__all__ = ["ByGround"]

_CHECK = re.compile(r"\[([A-Z]+-\d+)\]")


class ByGround(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Hands out whole grounds, the one with the most checks first."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self._grounds = {one.id: one.ground for one in checks()}

    def _split_scope(self, nodeid: str) -> str:
        found = _CHECK.search(nodeid)
        return self._grounds.get(found[1], nodeid) if found else nodeid
