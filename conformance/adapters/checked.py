"""An adapter of somebody else's, held to what `Adapter` says: a slip in it is one sentence, wherever it shows."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.intents import Intent
from fixtures.kube import Kube
from reports.errors import MeshproofError, UsageProblem

from .base import Adapter, Proxy, Rendered, Unsupported

__all__ = ["Checked", "said_by"]


class Checked:
    """The same adapter. What it renders is looked at before anything is made of it; the rest is its own."""

    def __init__(self, adapter: Adapter, name: str) -> None:
        """Raises `UsageProblem` where the adapter is not the one of `name`, or says nonsense of its control plane."""
        if adapter.name != name:
            raise UsageProblem(
                f"the adapter {name!r} says that its name is {adapter.name!r}",
                fix="give it the name of its entry point: what is typed after --mesh",
            )
        self._adapter = adapter
        self.name = name
        place: object = self.control_plane()
        if place is not None and not (
            isinstance(place, tuple) and len(place) == 2 and all(isinstance(part, str) for part in place)
        ):
            raise UsageProblem(
                f"the adapter {name}: its control plane is {place!r}",
                fix="give a pair, the namespace and the name of a Deployment, or None",
            )

    def __getattr__(self, name: str) -> Any:
        """What it has beside the members of `Adapter`, its tables for one."""
        return getattr(self._adapter, name)

    @property
    def title(self) -> str:
        """Its own."""
        return self._adapter.title

    @property
    def proxy(self) -> Proxy | None:
        """Its own."""
        return self._adapter.proxy

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """What it renders; `UsageProblem` where that is nothing that can be made on a cluster."""
        what = type(intent).__name__
        try:
            found = self._adapter.render(intent)
        except MeshproofError:
            raise
        except Exception as error:
            raise UsageProblem(f"the adapter {self.name}: its words for {what} fail: {said_by(error)}") from error
        if wrong := _wrong(found):
            raise UsageProblem(
                f"the adapter {self.name}: its words for {what} return {wrong}", fix="see conformance.adapters.base"
            )
        return found

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """Its own."""
        return self._adapter.identity(namespace, service_account)

    def control_plane(self) -> tuple[str, str] | None:
        """Its own."""
        return self._adapter.control_plane()

    def version(self, kube: Kube) -> str:
        """Its own."""
        return self._adapter.version(kube)

    def problem(self, kube: Kube) -> str:
        """Its own."""
        return self._adapter.problem(kube)

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """Its own."""
        return self._adapter.dump(kube, namespace, pod)


def said_by(error: BaseException) -> str:
    """An exception of somebody else's code in one line: its type, what it says, and where it was raised."""
    said = " ".join(str(error).split())
    named = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, SyntaxError):
        return named  # says the file and line itself
    frames = traceback.extract_tb(error.__traceback__)
    return f"{named} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else named


def _wrong(found: object) -> str:
    """What is wrong with something rendered, after "return"; "" for nothing."""
    if isinstance(found, Unsupported):
        return ""
    if not isinstance(found, Rendered):
        return f"{_short(found)}, which is neither Rendered nor Unsupported"
    for field in ("labels", "annotations"):
        pairs = getattr(found, field)
        if not isinstance(pairs, Mapping):
            return f"{field} that are no mapping: {_short(pairs)}"
        for key, value in pairs.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                return f"{field} that are not text: {key!r}: {value!r}"
    for field in ("objects", "merges"):
        items = getattr(found, field)
        if not isinstance(items, (tuple, list)):
            return f"{field} that are no tuple: {_short(items)}"
        for item in items:
            if lacking := _lacking(item):
                return f"one of {field} {lacking}: {_short(item)}"
    return ""


def _lacking(item: object) -> str:
    if not isinstance(item, Mapping):
        return "that is no mapping"
    for key in ("apiVersion", "kind"):
        if not isinstance(item.get(key), str):
            return f"without {key}"
    metadata = item.get("metadata")
    if not (isinstance(metadata, Mapping) and isinstance(metadata.get("name"), str)):
        return "without metadata.name"
    return ""


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 80 else f"{text[:80]} …"
