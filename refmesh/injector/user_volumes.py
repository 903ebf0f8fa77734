"""Volumes that the user wants in the sidecar: certificates and keys for TLS that DestinationRules ask of it.

Istio's annotations, each JSON: `sidecar.istio.io/userVolume` has volumes, `sidecar.istio.io/userVolumeMount` says where
they are mounted; by name, `{"NAME": {…}}`, or as a list of objects with a `name`. They give a pod nothing that it could
not mount itself, and are read-only.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from refmesh.agent.places import RUN_DIR, TOKEN_PATH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["user_volumes"]

_VOLUME, _MOUNT = "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount"
_KINDS = ("secret", "configMap", "projected", "csi", "downwardAPI", "emptyDir", "persistentVolumeClaim")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST = 100
"""Entries of each annotation."""
_OWN_PREFIX = "refmesh-"
_MOUNTED = (RUN_DIR, posixpath.dirname(TOKEN_PATH))
_OWN = (
    *_MOUNTED,
    *(path.removeprefix("/var") for path in _MOUNTED),  # in a published image /var/run is a link to /run
    *("/proc", "/sys", "/dev"),
    *("/usr", "/bin", "/sbin", "/lib", "/lib64"),  # interpreter, Envoy, libraries; the short ones are links into /usr
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/protocols", "/etc/hosts", "/etc/resolv.conf"),
)
"""What the proxy runs from. Nothing may be mounted within these, nor over what they lie in."""


def user_volumes(
    annotations: Mapping[str, str], existing: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return volumes for the pod, which has those `existing`, and mounts for the proxy. Raises ValueError."""
    volumes = [_volume(name, source, existing) for name, source in _items(annotations, _VOLUME)]
    known = {*existing, *(volume["name"] for volume in volumes)}
    mounts = [_mount(name, item, known) for name, item in _items(annotations, _MOUNT)]
    if twice := _twice(mount["mountPath"] for mount in mounts):
        raise ValueError(f"annotation {_MOUNT}: {twice} is used twice")
    return volumes, mounts


def _items(annotations: Mapping[str, str], key: str) -> list[tuple[str, dict[str, Any]]]:
    text = annotations.get(key)
    if not text:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"annotation {key}: is not JSON: {error}") from error
    if isinstance(found, dict):
        pairs = list(found.items())
    elif isinstance(found, list) and all(isinstance(item, dict) for item in found):
        pairs = [(item.get("name"), {name: value for name, value in item.items() if name != "name"}) for item in found]
    else:
        raise ValueError(f"annotation {key}: must be a JSON object by name, or a list of objects with a name")
    if len(pairs) > _MOST:
        raise ValueError(f"annotation {key}: has {len(pairs)} entries; at most {_MOST} are taken")
    for name, item in pairs:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(item, dict):
            raise ValueError(f"annotation {key}: {name!r} must be the name of a volume (a-z, 0-9, -) with an object")
    # One volume may be mounted at several places.
    if key == _VOLUME and (twice := _twice(name for name, _ in pairs)):
        raise ValueError(f"annotation {key}: {twice} is there twice")
    return pairs


def _twice(names: Iterable[str]) -> str | None:
    """Return the first that is there more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _volume(name: str, source: dict[str, Any], existing: Collection[str]) -> dict[str, Any]:
    if name in existing or name.startswith(_OWN_PREFIX):
        raise ValueError(f"annotation {_VOLUME}: {name} is the name of another volume of the pod")
    if len(source) != 1 or next(iter(source)) not in _KINDS or not isinstance(next(iter(source.values())), dict):
        raise ValueError(f"annotation {_VOLUME}: {name} must have exactly one of {', '.join(_KINDS)}, with an object")
    return {"name": name, **source}


def _mount(name: str, item: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    where = f"annotation {_MOUNT}: {name}"
    if name not in known:
        raise ValueError(f"{where} is no volume of {_VOLUME}, nor of the pod")
    if unknown := item.keys() - {"mountPath", "subPath", "readOnly", "readonly"}:
        raise ValueError(f"{where}: {min(unknown)} is not supported by refmesh")
    if item.get("readOnly", item.get("readonly", True)) is not True:
        raise ValueError(f"{where}: readOnly must be true; the proxy writes nothing there")
    path, inner = item.get("mountPath"), item.get("subPath", "")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or path.startswith("//")  # normpath keeps two, which POSIX allows to mean something else
        or posixpath.normpath(path) != path.removesuffix("/")
        or ":" in path
    ):
        raise ValueError(f"{where}: mountPath must be an absolute path without // and . and .., and not /")
    path = path.removesuffix("/")
    if any(_within(path, own) or _within(own, path) for own in _OWN):
        raise ValueError(f"{where}: mountPath {path} would hide what the proxy needs; use one such as /etc/certs")
    if not isinstance(inner, str) or inner.startswith("/") or ".." in inner.split("/"):
        raise ValueError(f"{where}: subPath must be a relative path without ..")
    return {"name": name, "mountPath": path, "readOnly": True, **({"subPath": inner} if inner else {})}


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
