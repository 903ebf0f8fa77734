"""What is kept of a check that did not pass: enough to judge it again without the cluster, with secrets removed."""

from __future__ import annotations

import dataclasses
import json
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from conformance.context import Context
from fixtures.kube import ApiProblem
from reports.errors import MeshproofError
from reports.model import Result, plain, result_to_json

__all__ = ["as_json", "redact", "redacted", "write_bundle"]

_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{16,}"),
)
_SECRET_KEYS = re.compile(r"(?i)(password|secret_?key|private_?key|inline_?bytes|token)$")
REMOVED = "[removed]"


def redact(text: str) -> str:
    """The text without private keys and tokens."""
    for pattern in _SECRETS:
        text = pattern.sub(REMOVED, text)
    return text


def redacted(value: Any) -> Any:
    """A JSON value without private keys and tokens, also under keys that name them. Secrets lose their data."""
    if isinstance(value, Mapping):
        secret = value.get("kind") == "Secret"
        return {
            key: REMOVED
            if (isinstance(item, str) and _SECRET_KEYS.search(key)) or (secret and key in {"data", "stringData"})
            else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def as_json(history: object) -> Any:
    """A history as plain JSON."""
    if dataclasses.is_dataclass(history) and not isinstance(history, type):
        return {one.name: as_json(getattr(history, one.name)) for one in dataclasses.fields(history)}
    if isinstance(history, Mapping):
        return {str(key): as_json(item) for key, item in history.items()}
    if isinstance(history, list | tuple):
        return [as_json(item) for item in history]
    return plain(history)


def write_bundle(
    directory: Path, ctx: Context | None, result: Result, history: object, error: BaseException | None
) -> Path:
    """Write the bundle of one check and return its folder. What cannot be fetched is named in `missing.txt`."""
    folder = directory / "bundles" / result.id
    folder.mkdir(parents=True, exist_ok=True)
    _json(folder / "result.json", result_to_json(result))
    _json(folder / "history.json", as_json(history))
    if error is not None:
        text = "".join(traceback.format_exception(error))
        (folder / "error.txt").write_text(redact(text))
    if ctx is not None:
        missing: list[str] = []
        _objects(folder, ctx)
        for one in ctx.ground.places:
            _space(folder, ctx, ctx.space(one.name), missing)
        if missing:
            (folder / "missing.txt").write_text("\n".join(missing) + "\n")
    return folder


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(redacted(value), indent=1, ensure_ascii=False) + "\n")


def _objects(folder: Path, ctx: Context) -> None:
    text = yaml.safe_dump_all([redacted(plain(item)) for item in ctx.applied], sort_keys=False)
    (folder / "intents.yaml").write_text(text)


def _space(folder: Path, ctx: Context, space: str, missing: list[str]) -> None:
    """Pods, their logs and proxies, events of one namespace."""
    try:
        pods = ctx.kube.list("v1", "Pod", space)
        _json(folder / f"{space}.pods.json", pods)
        _json(folder / f"{space}.events.json", ctx.kube.list("v1", "Event", space))
    except MeshproofError as error:
        missing.append(f"{space}: {error.problem}")
        return
    for pod in pods:
        name = pod["metadata"]["name"]
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        if pod.get("status", {}).get("phase") != "Running":
            continue
        for container in (one["name"] for one in containers):
            try:
                log = ctx.kube.logs(space, name, container)
            except ApiProblem as error:
                missing.append(f"log of {space}/{name} {container}: {error.message}")
            else:
                (folder / f"{name}.{container}.log").write_text(redact(log))
        for file, text in ctx.adapter.dump(ctx.kube, space, name).items():
            (folder / f"{name}.{file}").write_text(redact(text))
