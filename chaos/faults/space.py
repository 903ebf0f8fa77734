"""Not a fault, but something a dead run leaves behind: the namespaces of its workloads."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.model import Cluster, Right, Undo
from reports.errors import UsageProblem
from reports.model import JSON

__all__ = ["SPACE_PREFIX", "Space"]

SPACE_PREFIX = "meshproof-chaos-"
"""Namespaces of experiments begin like this; no other is ever deleted."""


class Space:
    """The undo of having made a namespace."""

    name = "namespace"

    @staticmethod
    def plan(namespace: str) -> Undo:
        """Delete it."""
        return Undo(Space.name, {"namespace": namespace})

    @staticmethod
    def rights(*namespaces: str) -> Right:
        """Deleting these namespaces."""
        return Right("", "", ("namespaces",), ("get", "delete"), namespaces)

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Delete the namespace, unless it is on its way out already.

        UsageProblem where an entry names one that was never an experiment's.
        """
        namespace = str(arguments["namespace"])
        if not namespace.startswith(SPACE_PREFIX):
            raise UsageProblem(f"the undo log asks for the deletion of {namespace}, which is no experiment's namespace")
        found = kube.get("v1", "Namespace", namespace)
        if found is not None and not found["metadata"].get("deletionTimestamp"):
            kube.delete("v1", "Namespace", namespace)
