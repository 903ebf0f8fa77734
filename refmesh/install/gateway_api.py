"""Where Gateway API's own CRDs come from: a file or folder the user names, the pinned Go module, the project's release.

refmesh carries no copy: the definitions belong to the Gateway API project, and a cluster that has them keeps them.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import yaml

from refmesh.errors import UsageProblem

__all__ = ["VERSION", "definitions", "from_path", "parse"]

VERSION = "v1.7.0"
_MODULE = "sigs.k8s.io/gateway-api"
_RELEASE = f"https://github.com/kubernetes-sigs/gateway-api/releases/download/{VERSION}/standard-install.yaml"
_FOLDER = "/config/crd/standard/"
_GROUP = ".gateway.networking.k8s.io"
_TIMEOUT_SECONDS = 60


def definitions(path: Path | None) -> tuple[list[dict[str, Any]], str]:
    """Return (CRDs, where they are from); no CRDs if none can be had, and then the second says why.

    Raises `UsageProblem` if the user named a path and it has none.
    """
    named = path or (Path(env) if (env := os.environ.get("REFMESH_GATEWAY_API_CRDS")) else None)
    if named is not None:
        return from_path(named), str(named)
    found = _from_module()
    if found:
        return found, f"Go module {_MODULE}@{VERSION}"
    found = _from_release()
    if found:
        return found, f"the release {VERSION} of the Gateway API project"
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
