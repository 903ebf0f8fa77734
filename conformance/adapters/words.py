"""What the words of several meshes have in common: how they are written, and how a mesh says that it has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.intents import Backend, Bypass, HeaderEdit, Intent

from .base import Rendered, Unsupported

__all__ = ["NO_WORDS", "by_itself", "cannot", "duration", "header_edit", "listed", "manifest", "nameless"]

NO_WORDS = "no words for"
"""How the reason begins where nobody has thought about an intent yet: a test refuses it for the meshes we know."""


def manifest(api_version: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An object with this spec."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def duration(seconds: float) -> str:
    """Seconds as Istio and Gateway API write them, to the millisecond."""
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{round(seconds)}s"


def header_edit(edit: HeaderEdit) -> dict[str, Any]:
    """Changes of headers as Istio and Consul write them: values by name, handed to Envoy, where % begins a command."""
    found: dict[str, Any] = {}
    for key, pairs in (("set", edit.set), ("add", edit.add)):
        if pairs:
            found[key] = {name: value.replace("%", "%%") for name, value in pairs}
    return found | ({"remove": list(edit.remove)} if edit.remove else {})


def by_itself(render: Any, *intents: type[Intent]) -> None:
    """Declare that a mesh does this unasked: there is nothing to apply."""
    for one in intents:
        render.register(one, lambda *_: Rendered())


def cannot(render: Any, reason: str, *intents: type[Intent]) -> None:
    """Declare that a mesh cannot express these intents. `render` is its `singledispatch` function.

    Its registry then holds words or a reason for every type of intent that somebody has thought about.
    """

    def declare(*_: object) -> Unsupported:
        return Unsupported(reason)

    for one in intents:
        render.register(one, declare)


def nameless(*backends: Backend) -> Unsupported | None:
    """Why a route cannot lead to these, where routes lead to Services; None where each has one."""
    lacking = [one.name for one in backends if not one.service]
    if not lacking:
        return None
    return Unsupported(f"a route leads to Services, and {', '.join(lacking)} is only a version of one")


def listed(key: str, intent: Bypass) -> dict[str, str]:
    """Ports that pass by the proxy as annotations; `{}` in the key stands for inbound or outbound."""
    ports = {"inbound": intent.inbound, "outbound": intent.outbound}
    return {key.format(way): ",".join(map(str, numbers)) for way, numbers in ports.items() if numbers}
