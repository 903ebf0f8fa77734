"""Reads a kubeconfig: server, certificates, and a token or the login plugin that gives one."""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refmesh.errors import EnvironmentProblem
from refmesh.login import Login, load_pair, read_login

__all__ = ["Target", "located", "read_kubeconfig"]

JSON = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """An API server and how to prove to it who one is."""

    server: str
    context: ssl.SSLContext | None
    token: str
    login: Login | None = None


def located(kubeconfig: Path | None, context: str | None) -> tuple[Path, str | None]:
    """File and context that are meant, None being the file's current one.

    Where no file is given: the first of KUBECONFIG's with the context, or ~/.kube/config. Of several files the current
    context is the first that one of them names, though another may have it, and one of its own besides.
    """
    if kubeconfig is not None:
        return kubeconfig, context
    named = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    there = [path for path in named if path.is_file()] or named or [Path.home() / ".kube" / "config"]
    if len(there) == 1:
        return there[0], context
    configs = {path: _glance(path) for path in there}
    wanted = context or next((name for config in configs.values() if (name := config.get("current-context"))), None)
    for path, config in configs.items():
        if any(isinstance(entry, dict) and entry.get("name") == wanted for entry in config.get("contexts") or ()):
            return path, wanted
    return there[0], wanted


def _glance(path: Path) -> JSON:
    """What a file says; nothing where it cannot be read, which `read_kubeconfig` will say of the file that is taken."""
    import yaml  # as below

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def read_kubeconfig(path: Path, context: str | None) -> Target:
    """How to reach the cluster of a context (the current one by default). Raises `EnvironmentProblem`."""
    import yaml  # in the pod there is no kubeconfig, and no need to load a YAML parser

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EnvironmentProblem(
            f"The kubeconfig {path} cannot be read: {error.strerror}.", fix="Give --kubeconfig."
        ) from error
    except yaml.YAMLError as error:
        raise EnvironmentProblem(f"The kubeconfig {path} is not valid YAML.") from error
    if not isinstance(config, dict):
        raise EnvironmentProblem(f"The kubeconfig {path} is empty.")
    name = context or config.get("current-context") or ""
    chosen = _entry(config, "contexts", "context", name, path)
    cluster = _entry(config, "clusters", "cluster", chosen.get("cluster", ""), path)
    user = _entry(config, "users", "user", chosen.get("user", ""), path)
    if "auth-provider" in user:
        raise EnvironmentProblem(
            f"The kubeconfig user of context {name!r} uses an auth-provider, which Kubernetes itself gave up in 1.26.",
            fix="Let the provider's tool write the kubeconfig anew: it uses a login plugin (exec) now.",
        )
    tls = _tls(cluster, user, path.parent)
    login = read_login(user["exec"], _told(cluster, path.parent), tls, path.parent) if "exec" in user else None
    return Target(str(cluster.get("server", "")), tls, str(user.get("token", "")), login)


def _told(cluster: JSON, folder: Path) -> JSON:
    """What a login plugin may be told of the cluster."""
    names = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    told = {name: cluster[name] for name in names if name in cluster}
    if authority := _pem(cluster, "certificate-authority", folder):
        told["certificate-authority-data"] = base64.b64encode(authority).decode()
    named = {entry.get("name"): entry.get("extension") for entry in cluster.get("extensions") or ()}
    config = named.get("client.authentication.k8s.io/exec")
    return told | ({"config": config} if config is not None else {})


def _entry(config: JSON, section: str, key: str, name: str, path: Path) -> JSON:
    for entry in config.get(section) or []:
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    raise EnvironmentProblem(f"The kubeconfig {path} has no entry {name!r} in {section}.")


def _tls(cluster: JSON, user: JSON, folder: Path) -> ssl.SSLContext | None:
    if not str(cluster.get("server", "")).startswith("https"):
        return None
    authority = _pem(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _pem(user, "client-certificate", folder), _pem(user, "client-key", folder)
    if certificate and key:
        load_pair(context, certificate, key)
    return context


def _pem(section: JSON, key: str, folder: Path) -> bytes:
    if section.get(f"{key}-data"):
        return base64.b64decode(section[f"{key}-data"])
    return (folder / section[key]).read_bytes() if section.get(key) else b""
