"""Load: an open-loop driver that runs in pods, latency histograms, and the paired comparison of proxy latency.

`measure` and `run_short` are imported on first use: the driver in a pod imports this package too, and has neither the
Kubernetes client nor a need for it. Nothing imports `load.driver`: it patches its interpreter for gevent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from load.latency import Plan, measure, run_short
    from load.meshing import Meshing

__all__ = ["Meshing", "Plan", "measure", "run_short"]


def __getattr__(name: str) -> Any:
    """Import what the runner uses when it is asked for."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("load.meshing" if name == "Meshing" else "load.latency"), name)
