"""`refmesh validate`: what the webhook would say of the objects in files, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from refmesh.api.kinds import parse
from refmesh.api.service_entry import ServiceEntry
from refmesh.config.admission import kind_of, notes, problem
from refmesh.config.model import Service, Snapshot
from refmesh.config.objects import service
from refmesh.errors import UsageProblem
from refmesh.terminal import read_input

__all__ = ["Finding", "validate"]

_SUFFIXES = {".yaml", ".yml", ".json"}
_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Finding:
    """What became of one object; `problem` is empty for a good one."""

    file: str
    kind: str
    name: str
    """With its namespace, where the file names one."""
    problem: str
    known: bool = True
    """Whether refmesh reads this kind; others are not judged."""
    notes: tuple[str, ...] = ()
    """What of a good one comes to nothing beside the others."""


def validate(names: list[str]) -> list[Finding]:
    """Judge every object of these files, of the folders' files, and of standard input (`-`).

    Raises `UsageProblem` for what cannot be read as YAML.
    """
    read = [(file, one) for name in names for file, text in _texts(name) for one in _documents(file, text)]
    found = [_judge(file, one) for file, one in read]
    good = [one for (_, one), finding in zip(read, found, strict=True) if finding.known and not finding.problem]
    parsed = [parse(kind, one, _DOMAIN) for one in good if (kind := kind_of(one)) is not None]
    entries = {(item.meta.namespace, item.meta.name): item for item in parsed if isinstance(item, ServiceEntry)}
    services = {item.key: item for _, one in read if (item := _headless(one)) is not None}
    beside = Snapshot(service_entries=entries, services=services)
    return [
        finding if finding.problem or not finding.known else replace(finding, notes=_notes(one, beside))
        for (_, one), finding in zip(read, found, strict=True)
    ]


def _notes(obj: Any, beside: Snapshot) -> tuple[str, ...]:
    return tuple(notes([obj], beside, _DOMAIN)) if obj.get("kind") in {"DestinationRule", "VirtualService"} else ()


def _headless(obj: Any) -> Service | None:
    """A Service that says itself that it is headless; one without an address gets one when it is created."""
    if not isinstance(obj, dict) or (obj.get("apiVersion"), obj.get("kind")) != ("v1", "Service"):
        return None
    try:
        found = service(obj) if obj["spec"]["clusterIP"] == "None" else None
    except (AttributeError, KeyError, TypeError):
        return None  # no Service that an API server would take
    return replace(found, namespace=found.namespace or "default") if found is not None else None


def _texts(name: str) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "standard input", read_input()
        return
    path = Path(name)
    files = sorted(item for item in path.rglob("*") if item.suffix in _SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise UsageProblem(f"{name} has no files that end in {', '.join(sorted(_SUFFIXES))}.")
    for file in files:
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageProblem(f"{file} cannot be read: {error}.") from error


def _documents(file: str, text: str) -> Iterator[Any]:
    try:
        documents = [item for item in yaml.safe_load_all(text) if item is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageProblem(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    for item in documents:
        listed = (
            isinstance(item, dict)
            and str(item.get("kind", "")).endswith("List")
            and isinstance(item.get("items"), list)
        )
        yield from item["items"] if listed else [item]


def _judge(file: str, obj: Any) -> Finding:
    if not isinstance(obj, dict) or not isinstance(obj.get("kind"), str):
        return Finding(file, "?", "?", "is no Kubernetes object: it has no kind")
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key)) or "?"
    kind = kind_of(obj)
    if kind is None:
        return Finding(file, obj["kind"], name, "", known=False)
    return Finding(file, obj["kind"], name, problem(kind, obj, _DOMAIN))
