"""The agent with a defect: `python -m refmesh.defects.agent NAME`; an injector with a defect starts it so.

A sidecar is a process of its own, which the control plane's seams do not reach.
"""

from __future__ import annotations

import os
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


def _ends_with_the_authority() -> None:
    from refmesh.agent import enrolment

    sound, enrolled = enrolment.read_result, False

    def read_result(data: bytes) -> enrolment.Identity:
        nonlocal enrolled
        try:
            identity = sound(data)
        except enrolment.EnrolmentFailed:
            if enrolled:
                os._exit(1)
            raise
        enrolled = True
        return identity

    enrolment.read_result = read_result


_DEFECTS: dict[str, Callable[[], None]] = {"renewal": _no_renewal, "authority": _ends_with_the_authority}


def main() -> int:
    """Put the defect in, and be the agent."""
    from refmesh.agent.__main__ import main as agent

    _DEFECTS[sys.argv[1]]()
    return agent()


if __name__ == "__main__":
    sys.exit(main())
