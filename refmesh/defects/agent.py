"""The agent with a defect: `python -m refmesh.defects.agent NAME`; an injector with a defect starts it so.

A sidecar is a process of its own, which the control plane's seams do not reach.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["main"]


def _no_renewal() -> None:
    from refmesh.agent import enrolment

    def renewal_delay(not_after: float, now: float, jitter: float) -> float:
        _ = not_after, now, jitter
        return 10 * 365 * 86_400.0

    enrolment.renewal_delay = renewal_delay
    enrolment.Enroller.renew = lambda self: None  # type: ignore[method-assign]  # noqa: ARG005 - it hears no hint either


_DEFECTS: dict[str, Callable[[], None]] = {"renewal": _no_renewal}


def main() -> int:
    """Put the defect in, and be the agent."""
    from refmesh.agent.__main__ import main as agent

    _DEFECTS[sys.argv[1]]()
    return agent()


if __name__ == "__main__":
    sys.exit(main())
