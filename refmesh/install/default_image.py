"""The image that is installed where none is named: whoever can build one, and bring it to a cluster's nodes, says so.

refmesh cannot: its own package is all that it has. A program that ships it registers a function as entry point of the
group `refmesh.image`, called with a kubeconfig's path, a context (None: the current one) and `load`, whether the
cluster's nodes are to have the image afterwards. It returns the image's name, or "" where it has none for the cluster.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from refmesh.errors import EnvironmentProblem
from refmesh.kubeconfig import located

__all__ = ["GROUP", "default_image"]

GROUP = "refmesh.image"


def default_image(kubeconfig: Path | None, context: str | None, *, load: bool) -> str:
    """The name of an image; empty where nobody has one. Raises `EnvironmentProblem` where it cannot be made."""
    for entry in entry_points(group=GROUP):
        try:
            builder = entry.load()
        except ImportError:  # in our own image, whose metadata name a package that stays on the runner
            continue
        try:
            found = str(builder(*located(kubeconfig, context), load=load))
        except RuntimeError as error:
            raise EnvironmentProblem(str(error), fix="Or give --image REF.") from error
        if found:
            return found
    return ""
