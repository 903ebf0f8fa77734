"""Chaos: faults, experiments, and a runner that writes the undo before it acts.

The runner's side is imported on first use: the janitor and the prober in their pods import this package too, and have
neither the Kubernetes client nor a need for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.restoring import restore
    from chaos.suite import catalogue, run

__all__ = ["catalogue", "restore", "run"]


def __getattr__(name: str) -> Any:
    """Import what the runner uses when it is asked for."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("chaos.restoring" if name == "restore" else "chaos.suite"), name)
