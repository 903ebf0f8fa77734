"""Where Gateway API's own CRDs come from: a file or folder the user names, the pinned Go module, the project's release.

refmesh carries no copy: the definitions belong to the Gateway API project, and a cluster that has them keeps them. What
is fetched must be what is pinned here, wherever it comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import yaml

from refmesh.errors import EnvironmentProblem, UsageProblem

__all__ = ["PINS", "VERSION", "definitions", "digest", "from_path", "parse"]

VERSION = "v1.7.0"
PINS = {"v1.7.0": "0907a55b18381bd80989be0ea3a965ba23cee7622659e01452656730812ce970"}
"""Version to the `digest` of the definitions in the Go module, whose contents the Go checksum database has."""
_MODULE = "sigs.k8s.io/gateway-api"
_RELEASE = f"https://github.com/kubernetes-sigs/gateway-api/releases/download/{VERSION}/standard-install.yaml"
_FOLDER = "/config/crd/standard/"
_GROUP = ".gateway.networking.k8s.io"
_TIMEOUT_SECONDS = 60


def definitions(path: Path | None) -> tuple[list[dict[str, Any]], str]:
    """Return (CRDs, where they are from); no CRDs if none can be had, and then the second says why.

    Raises `UsageProblem` if the user named a path and it has none, `EnvironmentProblem` if others than the pinned ones
    were fetched.
    """
    named = path or (Path(env) if (env := os.environ.get("REFMESH_GATEWAY_API_CRDS")) else None)
    if named is not None:
        return from_path(named), str(named)
    for fetch, where in (
        (_from_module, f"Go module {_MODULE}@{VERSION}"),
        (_from_release, f"the release {VERSION} of the Gateway API project"),
    ):
        if found := fetch():
            _verify(found, where)
            return found, where
    return [], f"neither a Go tool with {_MODULE}@{VERSION} nor the project's release page could be reached"


def from_path(path: Path) -> list[dict[str, Any]]:
    """Read a file, or every YAML file of a folder. Raises `UsageProblem`."""
    try:
        files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        texts = [file.read_text(encoding="utf-8") for file in files]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"The Gateway API CRDs at {path} cannot be read: {error}.") from error
    try:
        found = [crd for text in texts for crd in parse(text)]
    except yaml.YAMLError as error:
        raise UsageProblem(
            f"The Gateway API CRDs at {path} are not valid YAML: {' '.join(str(error).split())}."
        ) from error
    if not found:
        raise UsageProblem(f"There is no Gateway API CRD in {path}.", fix="Give the project's standard-install.yaml.")
    return found


def parse(text: str) -> list[dict[str, Any]]:
    """Return the Gateway API CRDs among a file's YAML documents. Raises yaml.YAMLError."""
    # libyaml's parser: the definitions have a megabyte, the one in Python needs seconds for it
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = yaml.load_all(text, Loader=loader)
    return [
        document
        for document in documents
        if isinstance(document, dict)
        and document.get("kind") == "CustomResourceDefinition"
        and str((document.get("metadata") or {}).get("name", "")).endswith(_GROUP)
    ]


def digest(crds: list[dict[str, Any]]) -> str:
    """The SHA-256 of what the definitions say, in whichever files, order and YAML."""
    inside = sorted(crds, key=lambda crd: str(crd["metadata"]["name"]))
    return hashlib.sha256(json.dumps(inside, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def _verify(crds: list[dict[str, Any]], where: str) -> None:
    if (found := digest(crds)) != PINS[VERSION]:
        raise EnvironmentProblem(
            f"The Gateway API CRDs from {where} are not those that were released: their SHA-256 is {found},"
            f" and {PINS[VERSION]} is pinned.",
            fix="None was installed: try again from another network, or give a file that you trust with"
            " --gateway-api-crds FILE.",
        )


def _from_module() -> list[dict[str, Any]]:
    """Let the machine's Go fetch (or find in its cache) the pinned module; read the CRDs out of its archive.

    The archive is there even if this Go is older than the module asks for, in which case `go` reports an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                ["go", "mod", "download", "-json", f"{_MODULE}@{VERSION}"],
                cwd=folder,
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
            archive = json.loads(done.stdout).get("Zip", "")
            with zipfile.ZipFile(archive) as module:
                names = [name for name in module.namelist() if _FOLDER in name and name.endswith(".yaml")]
                return [crd for name in sorted(names) for crd in parse(module.read(name).decode())]
        except (OSError, ValueError, subprocess.SubprocessError, zipfile.BadZipFile, yaml.YAMLError):
            return []


def _from_release() -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(_RELEASE, timeout=10) as reply:
            return parse(reply.read(8 << 20).decode())
    except (OSError, ValueError, yaml.YAMLError):
        return []
