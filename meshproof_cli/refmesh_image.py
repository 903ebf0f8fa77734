"""The image that `refmesh install` takes where none is named: built here, and loaded into the cluster if we can.

Into clusters that meshproof or kind made images can be put from here. Elsewhere a name must be given: nobody but the
user knows which registry the nodes reach.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from fixtures.cluster import Provider
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.cluster.kind import KindProvider
from fixtures.images import build_archive, known_reference
from reports.console import step
from reports.errors import MeshproofError, UsageProblem

__all__ = ["image_for"]


def image_for(kubeconfig: Path, context: str | None, *, load: bool) -> str:
    """The name of an image of this meshproof; with `load` the nodes of the cluster have it from now on.

    Empty where nobody but the user can bring one to the nodes. Raises RuntimeError with a sentence for people: refmesh
    calls this by its entry point, and knows no errors of ours.
    """
    try:
        if not load:
            return known_reference()
        name, cluster = _cluster(kubeconfig, context or "")
        found = _owner(name, cluster)
        if found is None:
            return ""
        archive = build_archive()
        maker, own_name = found
        with step(f"Loading {archive.path.name} into {own_name}"):
            maker.load(own_name, archive.path)
    except MeshproofError as error:
        sentences = (f"{text[:1].upper()}{text[1:].rstrip('.')}." for text in (error.problem, error.fix) if text)
        raise RuntimeError(" ".join(sentences)) from error
    return archive.reference


def _cluster(path: Path, context: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of the cluster of a context; empty: of the current one. Raises `UsageProblem`."""
    try:
        return _read(path, context)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, StopIteration) as error:
        raise UsageProblem(
            f"The kubeconfig {path} does not say which cluster is meant.",
            fix="Give --kubeconfig, or set KUBECONFIG; --context names one of its contexts",
        ) from error


def _read(path: Path, context: str) -> tuple[str, dict[str, Any]]:
    name, cluster = _entry(path.read_text(encoding="utf-8"), context)
    if file := cluster.get("certificate-authority"):
        cluster["certificate-authority"] = str(path.parent / file)
    return name, cluster


def _entry(kubeconfig: str, context: str) -> tuple[str, dict[str, Any]]:
    config = yaml.safe_load(kubeconfig)
    name = context or config["current-context"]
    used = next(item["context"]["cluster"] for item in config["contexts"] if item["name"] == name)
    return used, next(item["cluster"] for item in config["clusters"] if item["name"] == used)


def _owner(name: str, cluster: dict[str, Any]) -> tuple[Provider, str] | None:
    """Who made the cluster, and how it is called there."""
    embedded = EmbeddedProvider()
    for known in embedded.list():
        if _same(cluster, _read(known.kubeconfig, known.context or "")[1]):
            return embedded, known.name
    kind, own_name = KindProvider(), name.removeprefix("kind-")
    if name.startswith("kind-") and own_name in kind.names() and _same(cluster, _entry(kind.settings(own_name), "")[1]):
        return kind, own_name
    return None


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two entries lead to the same cluster: a name or a port can be another's tomorrow, its root cannot."""
    return one.get("server") == other.get("server") and _root(one) == _root(other)


def _root(cluster: dict[str, Any]) -> bytes:
    if data := cluster.get("certificate-authority-data"):
        return base64.b64decode(data)
    file = Path(cluster.get("certificate-authority") or "")
    return file.read_bytes() if file.is_file() else b""
