"""What a bundle keeps of the cluster: objects as they are, logs, what proxies say. Secrets are removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from conformance.context import Context, NotExpressible
from conformance.ground import render_ground
from conformance.late_pods import has_run
from conformance.planes import plane_of
from conformance.redaction import redact, redact_log, redacted_scene
from fixtures.kube.containers import containers_of, statuses_of
from reports.errors import EnvironmentProblem, MeshproofError
from reports.model import plain

__all__ = ["write_json", "write_scene"]

AT_ONCE = 8
"""Pods or objects that are read side by side: on a busy node each is waited for, and the next check waits with it."""
PLANE_LINES = 500
"""Last lines of a control plane's log: it may have run for months, and a check is of seconds."""
GONE = "# Gone when the bundle was written, or not to be had: as it was sent.\n"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's where there is one: a ground's checks may have sent a hundred objects."""


def write_scene(folder: Path, ctx: Context) -> list[str]:
    """Write it as files of `folder`. Returns what could not be had, a line each."""
    spaces = [ctx.space(one.name) for one in ctx.ground.places]
    parts = [
        partial(_intents, folder, ctx),
        *(partial(_space, folder, ctx, space) for space in spaces),
        partial(_plane, folder, ctx),
    ]
    with ThreadPoolExecutor(len(parts), "scene") as pool:
        return list(chain.from_iterable(pool.map(lambda part: part(), parts)))


def write_json(path: Path, value: Any) -> None:
    """A value as strict JSON, for people to read as well."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


# -- what was asked of the mesh ----------------------------------------------------------------------------------------


def _intents(folder: Path, ctx: Context) -> list[str]:
    """What the ground and its checks asked of the mesh: as it was sent, in this order, and as it is now.

    Only what is now has a status; only what was sent shows an object that was changed or removed meanwhile.
    """
    missing: list[str] = []
    sent = [*_standing(ctx), *ctx.applied]
    (folder / "sent.yaml").write_text("".join(map(_document, sent)))
    latest = {_address(item): item for item in sent}
    with ThreadPoolExecutor(AT_ONCE, "intents") as pool:
        found = list(pool.map(lambda item: _live(ctx, item, missing), latest.values()))
    texts = [
        _document(live) if live is not None else _document(item, GONE)
        for live, item in zip(found, latest.values(), strict=True)
    ]
    (folder / "intents.yaml").write_text("".join(texts))
    return missing


def _standing(ctx: Context) -> list[Mapping[str, Any]]:
    """The namespaces, with the marks by which they take part, and the intents in force before the first pod started."""
    found: list[Mapping[str, Any]] = []
    for layer in render_ground(ctx.ground, ctx.adapter, run=ctx.run, image=ctx.image):
        meta = {"name": layer.namespace, "labels": dict(layer.labels), "annotations": dict(layer.annotations)}
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        found += [{**item, "metadata": {"namespace": layer.namespace, **item["metadata"]}} for item in layer.asked]
    return found


def _address(item: Mapping[str, Any]) -> tuple[str, ...]:
    meta = item["metadata"]
    return item["apiVersion"], item["kind"], meta.get("namespace") or "", meta["name"]


def _live(ctx: Context, item: Mapping[str, Any], missing: list[str]) -> Mapping[str, Any] | None:
    """The object as it is now; who has set which of its fields is left out. None where it is gone."""
    version, kind, space, name = _address(item)
    with _noting(missing, f"{kind} {space}/{name}"):
        live = ctx.kube.get(version, kind, name, space or "default")  # as it was applied
        if live is not None:
            meta = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
            return {"apiVersion": version, "kind": kind, **live, "metadata": meta}
    return None


def _document(item: Mapping[str, Any], remark: str = "") -> str:
    return f"---\n{remark}{yaml.dump(redacted_scene(plain(item)), Dumper=_DUMPER, sort_keys=False)}"


# -- namespaces and pods -----------------------------------------------------------------------------------------------


def _space(folder: Path, ctx: Context, space: str) -> list[str]:
    """Pods, their logs and proxies, events, services and their endpoints of one namespace."""
    missing: list[str] = []
    pods: list[dict[str, Any]] = []
    for version, kind, file in (
        ("v1", "Pod", "pods"),
        ("v1", "Event", "events"),
        ("v1", "Service", "services"),
        ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    ):
        with _noting(missing, f"{file} of {space}"):
            found = ctx.kube.list(version, kind, space)
            write_json(folder / f"{space}.{file}.json", redacted_scene(plain(found)))
            pods = found if kind == "Pod" else pods
    return missing + _side_by_side(lambda pod: _pod(folder, ctx, space, pod), pods)


def _side_by_side(read: Callable[[Mapping[str, Any]], list[str]], pods: Sequence[Mapping[str, Any]]) -> list[str]:
    with ThreadPoolExecutor(AT_ONCE, "pods") as pool:
        return list(chain.from_iterable(pool.map(read, pods)))


def _pod(folder: Path, ctx: Context, space: str, pod: Mapping[str, Any]) -> list[str]:
    """Logs of a pod and, if it runs, what its proxy says of itself; returns what could not be had."""
    name = pod["metadata"]["name"]
    missing = _logs(folder, ctx, pod, space, name)
    if pod.get("status", {}).get("phase") != "Running":
        return missing
    with _noting(missing, f"what the proxy of {space}/{name} says"):
        for file, text in ctx.adapter.dump(ctx.kube, space, name).items():
            (folder / f"{name}.{file}").write_text(_clean_dump(text))
    return missing


def _logs(
    folder: Path, ctx: Context, pod: Mapping[str, Any], space: str, prefix: str, tail: int | None = None
) -> list[str]:
    """The logs of every container that has run, whatever has become of it, and of what ran there before a restart."""
    missing: list[str] = []
    name = pod["metadata"]["name"]
    status = pod.get("status", {})
    restarted = {one["name"] for one in statuses_of(pod) if one.get("restartCount", 0)}
    for container in containers_of(pod):
        called = container["name"]
        if status.get("phase") == "Pending" and not has_run(pod, called):
            missing.append(f"log of {space}/{name} {called}: it has not started")
            continue
        with _noting(missing, f"log of {space}/{name} {called}"):
            text = ctx.kube.logs(space, name, called, tail=tail)
            (folder / f"{prefix}.{called}.log").write_text(redact_log(text))
        if called in restarted:
            with _noting(missing, f"log of {space}/{name} {called} before it was restarted"):
                text = ctx.kube.logs(space, name, called, previous=True, tail=tail)
                (folder / f"{prefix}.{called}.previous.log").write_text(redact_log(text))
    return missing


# -- the control plane -------------------------------------------------------------------------------------------------


def _plane(folder: Path, ctx: Context) -> list[str]:
    """The control plane's pods and the last lines of their logs."""
    missing: list[str] = []
    pods: list[dict[str, Any]] = []
    with _noting(missing, "the control plane's logs"):
        where = plane_of(ctx.adapter)
        if where is None:
            return []
        space, name = where
        deployment = ctx.kube.get("apps/v1", "Deployment", name, space)
        if deployment is None:
            raise EnvironmentProblem(f"there is no Deployment {space}/{name}")
        pods = ctx.kube.list("v1", "Pod", space, deployment["spec"]["selector"].get("matchLabels", {}))
        write_json(folder / "control-plane.pods.json", redacted_scene(plain(pods)))

    def read(pod: Mapping[str, Any]) -> list[str]:
        own = pod["metadata"]
        return _logs(folder, ctx, pod, own["namespace"], f"control-plane.{own['name']}", PLANE_LINES)

    return missing + _side_by_side(read, pods)


@contextmanager
def _noting(missing: list[str], what: str) -> Iterator[None]:
    """Note a part that cannot be fetched or written, and why, instead of giving up all that comes after it."""
    try:
        yield
    except (MeshproofError, NotExpressible, OSError, ValueError, HTTPException) as error:
        if isinstance(error, MeshproofError):
            said = error.problem
        else:
            said = str(error) if isinstance(error, NotExpressible) else f"{type(error).__name__}: {error}"
        missing.append(f"{redact(what)}: {redact_log(said)}")


def _clean_dump(text: str) -> str:
    """A proxy's dump; as JSON it also loses what stands under names that speak of secrets."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return redact_log(text)
    return json.dumps(redacted_scene(document), indent=1, ensure_ascii=False) + "\n"
