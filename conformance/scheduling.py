"""Distribution over pytest-xdist's workers: all checks of one ground go to the same worker, in their order."""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from conformance.catalogue import checks, ground_of

__all__ = ["ByGround"]

_CHECK = re.compile(r"\[([A-Z]+-\d+)\]")


WIDE = "wide"


class ByGround(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    """Hands out whole grounds, the one with the most checks first.

    The wide ones come last, and all to one worker: they wait until no other check is judged, and a worker that waits
    for its turn judges nothing meanwhile.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self._scopes = {one.id: WIDE if ground_of(one.ground).wide else one.ground for one in checks()}

    def _split_scope(self, nodeid: str) -> str:
        found = _CHECK.search(nodeid)
        return self._scopes.get(found[1], nodeid) if found else nodeid

    def _assign_work_unit(self, node: Any) -> None:
        """The next unit to a worker."""
        if WIDE in self.workqueue:
            self.workqueue.move_to_end(WIDE)
        super()._assign_work_unit(node)
