"""Runs the login plugin of a kubeconfig, as managed clusters want it: client-go's exec protocol, `ExecCredential`.

What a plugin answers is a secret: it is kept in memory alone, and no message quotes it.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from refmesh.errors import EnvironmentProblem
from refmesh.terminal import has_terminal

__all__ = ["Login", "load_pair", "read_login"]

JSON = Mapping[str, Any]
_GROUP = "client.authentication.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_MODES = ("Never", "IfAvailable", "Always")
_SECONDS = 300.0
"""Time for a person to log in with a browser."""
_EARLY_SECONDS = 10.0


@dataclass
class Login:
    """One plugin, and what it answered last; it is asked again when that is about to expire."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    api_version: str
    interactive: bool
    hint: str = ""
    """How to install it, in the words of the kubeconfig's author."""
    cluster: JSON | None = None
    """What the plugin wants to know of the cluster, if it does."""
    context: ssl.SSLContext | None = None
    """Gets the client certificate, if the plugin gives one."""
    _token: str = field(default="", repr=False)
    _ends: float = 0.0

    def header(self) -> dict[str, str]:
        """The HTTP header that proves who asks. Blocks while the plugin runs. Raises `EnvironmentProblem`."""
        if time.time() >= self._ends - _EARLY_SECONDS:
            self._take(self._run())
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _run(self) -> str:
        spec = {"interactive": self.interactive} | ({"cluster": self.cluster} if self.cluster is not None else {})
        told = json.dumps({"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec})
        try:
            done = subprocess.run(
                self.command,
                env={**os.environ, **self.environment, "KUBERNETES_EXEC_INFO": told},
                stdin=None if self.interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # what it says to the person goes to standard error, as it is
                check=False,
                timeout=_SECONDS,
            )
        except FileNotFoundError:
            raise EnvironmentProblem(
                f"The kubeconfig's login plugin {self.name} is not installed.",
                fix=self.hint or "Install it, and see that it is on the PATH.",
            ) from None
        except OSError as error:
            raise EnvironmentProblem(f"The login plugin {self.name} cannot be run: {error.strerror}.") from None
        except subprocess.TimeoutExpired:
            raise EnvironmentProblem(f"The login plugin {self.name} did not end within {_SECONDS:g} s.") from None
        if done.returncode:
            raise EnvironmentProblem(
                f"The login plugin {self.name} failed with exit code {done.returncode}.", fix="Log in anew."
            )
        return done.stdout.decode("utf-8", "replace")

    def _take(self, answer: str) -> None:
        try:
            said = json.loads(answer)
            status = said["status"]
            if said["kind"] != "ExecCredential" or said["apiVersion"] != self.api_version:
                raise self._useless(f"it is no ExecCredential of {self.api_version}")
            token, chain, key = (
                str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")
            )
            end = status.get("expirationTimestamp")
            ends = datetime.fromisoformat(end).timestamp() if end else float("inf")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._useless("it is no ExecCredential") from None
        if bool(chain) is not bool(key) or not (token or chain):
            raise self._useless("it has neither a token nor a client certificate with its key")
        if chain and self.context is not None:
            try:
                load_pair(self.context, chain.encode(), key.encode())
            except ssl.SSLError:
                raise self._useless("its client certificate and key do not belong together") from None
        self._token, self._ends = token, ends

    def _useless(self, why: str) -> EnvironmentProblem:
        return EnvironmentProblem(f"What the login plugin {self.name} answers cannot be used: {why}.")


def read_login(plugin: Any, cluster: JSON, context: ssl.SSLContext | None, folder: Path) -> Login:
    """Read the `exec` section of a kubeconfig's user; `folder` is the kubeconfig's. Raises `EnvironmentProblem`."""
    plugin = plugin if isinstance(plugin, Mapping) else {}
    command, version = str(plugin.get("command") or ""), str(plugin.get("apiVersion") or "")
    mode = str(plugin.get("interactiveMode") or "IfAvailable")
    if not command:
        raise EnvironmentProblem("The kubeconfig's user has a login plugin (exec) without a command.")
    if version not in _VERSIONS:
        raise EnvironmentProblem(
            f"The login plugin {command} is asked for by apiVersion {version!r}.",
            fix=f"It must be {' or '.join(_VERSIONS)}: let the provider's tool write the kubeconfig anew.",
        )
    if mode not in _MODES:
        raise EnvironmentProblem(f"The login plugin {command} has interactiveMode {mode!r}, not {', '.join(_MODES)}.")
    if mode == "Always" and not has_terminal():
        raise EnvironmentProblem(f"The login plugin {command} needs a terminal (interactiveMode: Always).")
    # As kubectl does: a bare name is looked for on the PATH, a path starts at the kubeconfig.
    program = str(folder / command) if os.sep in command else command
    return Login(
        name=command,
        command=(program, *map(str, plugin.get("args") or ())),
        environment={str(entry.get("name")): str(entry.get("value", "")) for entry in plugin.get("env") or ()},
        api_version=version,
        interactive=mode != "Never" and has_terminal(),
        hint=" ".join(str(plugin.get("installHint") or "").split()),
        cluster=cluster if plugin.get("provideClusterInfo") else None,
        context=context,
    )


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Have a context show a client certificate from now on."""
    # ssl loads client certificates from files only; this one lives as long as the call.
    with tempfile.NamedTemporaryFile(mode="wb") as both:
        both.write(certificate + b"\n" + key)
        both.flush()
        context.load_cert_chain(both.name)
