"""How an existing cluster's nodes come to have the image of this meshproof: they have it, or we can load it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fixtures.cluster import Cluster, Provider
from fixtures.cluster.owners import maker_of
from fixtures.images import REPOSITORY
from fixtures.kube import Kube
from fixtures.kube.errors import rights_permitting
from reports.errors import UsageProblem

__all__ = ["expect_a_way", "loader", "nodes_have"]


def nodes_have(kube: Kube, reference: str) -> bool:
    """Whether every node has the image; False as well where the user may not look at nodes."""
    held = _held(kube)
    return bool(held) and all(reference in names for names in held)


def loader(cluster: Cluster, otherwise: Provider) -> tuple[Provider, str]:
    """Who can load an image into an existing cluster, under which name: whoever made it, if that was from here."""
    return maker_of(cluster.kubeconfig, cluster.context) or (otherwise, cluster.name)


def expect_a_way(kube: Kube, cluster: Cluster) -> None:
    """Raise `UsageProblem` where nothing that this run builds could reach the nodes. Nothing is made to find that out.

    An image of ours that they have may be another than the one to be: which that is, only building its parts tells.
    """
    held = _held(kube)
    some = bool(held) and all(any(name.startswith(f"{REPOSITORY}:") for name in names) for names in held)
    if not some and maker_of(cluster.kubeconfig, cluster.context) is None:
        raise UsageProblem(
            f"no image can be loaded into the nodes of the cluster {cluster.name!r}: "
            "neither meshproof nor kind made it on this machine",
            fix="push one to a registry that its nodes pull from (`meshproof image product`, or the Dockerfile in "
            "fixtures/images), and give its name with --image",
        )


def _held(kube: Kube) -> Sequence[set[str]]:
    """The names of the images of each node."""
    nodes: list[dict[str, Any]] = []
    with rights_permitting():  # who may not look at nodes cannot know
        nodes = kube.list("v1", "Node")
    return [{name for image in node["status"].get("images", []) for name in image.get("names", [])} for node in nodes]
