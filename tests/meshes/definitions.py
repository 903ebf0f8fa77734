"""The custom resource definitions that meshes publish, out of pinned Go modules.

Where there is no module that can be had everywhere, `documented/` stands in: the kinds and fields that
our adapters use, written down from the mesh's reference pages. `MESHPROOF_MESH_DEFINITIONS=DIR` takes the real ones
from `DIR/<mesh>/*.yaml` instead, and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fixtures.cluster.building import module_sum
from fixtures.cluster.golang import find_go, go_environment

__all__ = ["MESHES", "Definitions", "definitions"]

HERE = Path(__file__).parent
GATEWAY = ("sigs.k8s.io/gateway-api", "v1.7.0", "config/crd/standard/gateway.networking.k8s.io_")


@dataclass(frozen=True)
class Source:
    """A module at a version, and where in it the definitions are: names that begin like this."""

    module: str
    version: str
    prefix: str


ROUTES = Source(*GATEWAY)
MESHES: dict[str, tuple[Source, ...]] = {
    "gateway-api": (ROUTES,),
    "istio": (Source("istio.io/api", "v1.31.4", "kubernetes/customresourcedefinitions.gen.yaml"), ROUTES),
    "cilium": (
        Source("github.com/cilium/cilium", "v1.20.2", "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumenvoyconfigs"),
        Source("github.com/cilium/cilium", "v1.20.2", "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies"),
        ROUTES,
    ),
    "linkerd": (ROUTES,),
    "kuma": (),
    "kuma-2": (),
    "consul": (),
}
"""The definitions of Linkerd, Kuma and Consul are in no module that can be had everywhere: see `documented/`."""


@dataclass(frozen=True)
class Definitions:
    """What was found for a mesh."""

    items: tuple[dict[str, Any], ...]
    origin: str


def definitions(mesh: str) -> Definitions:
    """A mesh's definitions, and where they are from. Raises where a pinned module cannot be had or differs."""
    if given := os.environ.get("MESHPROOF_MESH_DEFINITIONS"):
        own = _load(sorted((Path(given) / mesh).glob("*.yaml")))
        if own:
            shared = [item for source in MESHES[mesh] for item in _from_module(source)]
            return Definitions((*own, *shared), f"{given}/{mesh}")
    found = [item for source in MESHES[mesh] for item in _from_module(source)]
    origin = [f"{source.module}@{source.version}" for source in MESHES[mesh]]
    if (file := HERE / "documented" / f"{mesh}.yaml").exists():
        found.extend(_documented(file))
        origin.append("the mesh's documentation")
    return Definitions(tuple(found), ", ".join(dict.fromkeys(origin)))


def _load(files: list[Path]) -> list[dict[str, Any]]:
    return [item for file in files for item in _crds(file.read_text())]


def _crds(text: str) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = yaml.load_all(text, Loader=loader)
    return [one for one in documents if one and one.get("kind") == "CustomResourceDefinition"]


def _from_module(source: Source) -> list[dict[str, Any]]:
    go = find_go((1, 21))
    named = f"{source.module}@{source.version}"
    command = [str(go), "mod", "download", "-json", named]
    environment = {**go_environment(go), "GOFLAGS": "-mod=mod"}
    done = subprocess.run(command, check=False, cwd=HERE, env=environment, capture_output=True, text=True, timeout=300)
    archive = Path(json.loads(done.stdout or "{}").get("Zip", ""))
    assert archive.is_file(), f"{named} cannot be had: {done.stdout}{done.stderr}"
    pinned = f"{source.module} {source.version} {module_sum(archive)}"
    assert pinned in (HERE / "go.sum").read_text().splitlines(), f"{named} is not what go.sum pins"
    with zipfile.ZipFile(archive) as content:
        begin = f"{named}/{source.prefix}"
        names = [name for name in content.namelist() if name.startswith(begin) and name.endswith(".yaml")]
        return [item for name in sorted(names) for item in _crds(content.read(name).decode())]


# -- from documentation ------------------------------------------------------------------------------------------------


def _documented(file: Path) -> list[dict[str, Any]]:
    """Definitions of the kinds in a file of `documented/`: see its head for how fields are written."""
    return [_definition(one) for one in yaml.safe_load(file.read_text())]


def _definition(one: dict[str, Any]) -> dict[str, Any]:
    group, version = one["apiVersion"].split("/")
    plural = one["plural"]
    schema = {"type": "object", "properties": {"spec": _schema(one["spec"])}}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": one["kind"], "plural": plural, "singular": one["kind"].lower(), "listKind": f"{one['kind']}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [served]},
    }


def _schema(written: Any) -> dict[str, Any]:
    """`string` is a type, `a|b` are the values allowed, `[x]` a list, `{"*": x}` any keys, `{name: x}` these fields."""
    if isinstance(written, list):
        return {"type": "array", "items": _schema(written[0])}
    if isinstance(written, dict):
        if written.keys() == {"*"}:
            return {"type": "object", "additionalProperties": _schema(written["*"])}
        return {"type": "object", "properties": {key: _schema(value) for key, value in written.items()}}
    if written in {"string", "integer", "boolean", "number"}:
        return {"type": written}
    if written == "integer or string":
        return {"x-kubernetes-int-or-string": True}
    return {"type": "string", "enum": written.split("|")}
