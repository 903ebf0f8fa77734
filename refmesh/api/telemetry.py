"""Telemetry: which requests are logged and traced, and what traces carry. Fields as in telemetry.istio.io/v1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.log_filter import read_expression
from refmesh.api.meta import Meta
from refmesh.api.selection import EVERYTHING, Selection

__all__ = ["Logging", "Tag", "Telemetry", "Tracing"]

_MODES = ("CLIENT_AND_SERVER", "CLIENT", "SERVER")
LOG_PROVIDER, TRACE_PROVIDER = "envoy", "refmesh"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_MOST_TAGS = 64


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of every span. `source`: literal, header or environment; `value` what is said, or where it is read."""

    name: str
    source: str
    value: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class Logging:
    """What one policy says of the access log of one side; None leaves a field to the next wider policy."""

    wanted: bool | None = None
    expression: str | None = None
    """Only accesses for which it holds are logged."""

    def over(self, before: Logging) -> Logging:
        """This over an earlier one, field by field."""
        return Logging(
            self.wanted if self.wanted is not None else before.wanted,
            self.expression if self.expression is not None else before.expression,
        )


@dataclass(frozen=True, slots=True)
class Tracing:
    """What one policy says of spans of one side; None leaves a field to the next wider policy."""

    sampling: float | None = None
    """Percentage of the traces begun here that are recorded."""
    silent: bool | None = None
    """Spans are passed on to the next hop and never reported."""
    tags: tuple[Tag, ...] | None = None


@dataclass(frozen=True)
class Telemetry:
    """One policy. Without a selection it speaks for its namespace, in the root namespace for the mesh."""

    meta: Meta
    selection: Selection = EVERYTHING
    client: Tracing = Tracing()
    server: Tracing = Tracing()
    client_log: Logging = Logging()
    server_log: Logging = Logging()

    @classmethod
    def parse(cls, obj: Any, domain: str) -> Telemetry:  # noqa: ARG003 - one signature for every kind
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "Telemetry")
        spec = Field(obj, "").get("spec")
        if spec.get("metrics").present:
            raise Invalid("spec.metrics", "is not supported by refmesh: metrics are always the standard ones")
        spec.only("selector", "targetRef", "targetRefs", "accessLogging", "tracing")
        found = cls(meta, Selection.read(spec))
        for item in spec.get("accessLogging").each():
            logged = _logging(item)
            if "client" in _sides(item):
                found = replace(found, client_log=logged.over(found.client_log))
            if "server" in _sides(item):
                found = replace(found, server_log=logged.over(found.server_log))
        for item in spec.get("tracing").each():
            said = _tracing(item)
            if "client" in _sides(item):
                found = replace(found, client=_over(said, found.client))
            if "server" in _sides(item):
                found = replace(found, server=_over(said, found.server))
        return found


def _sides(item: Field) -> tuple[str, ...]:
    """The sides that an entry speaks about."""
    mode = item.get("match").only("mode").get("mode").choice(*_MODES, default="CLIENT_AND_SERVER")
    return ("client", "server") if mode == "CLIENT_AND_SERVER" else (mode.lower(),)


def _over(said: Tracing, before: Tracing) -> Tracing:
    """A later entry of a list over an earlier one, field by field."""
    return Tracing(
        said.sampling if said.sampling is not None else before.sampling,
        said.silent if said.silent is not None else before.silent,
        said.tags if said.tags is not None else before.tags,
    )


def _logging(item: Field) -> Logging:
    item.only("match", "providers", "disabled", "filter")
    _provider(item, LOG_PROVIDER)
    chosen = item.get("filter")
    expression = read_expression(chosen.only("expression").get("expression")) if chosen.present else None
    return Logging(not item.get("disabled").boolean(), expression)


def _tracing(item: Field) -> Tracing:
    item.only("match", "providers", "randomSamplingPercentage", "disableSpanReporting", "customTags")
    _provider(item, TRACE_PROVIDER)
    sampling, silent = item.get("randomSamplingPercentage"), item.get("disableSpanReporting")
    tags = item.get("customTags")
    return Tracing(
        sampling.number() if sampling.present else None,
        silent.boolean() if silent.present else None,
        tuple(sorted(_tags(tags), key=lambda tag: tag.name)) if tags.present else None,
    )


def _provider(item: Field, known: str) -> None:
    for provider in item.get("providers").each():
        name = provider.only("name").get("name")
        if name.text() != known:
            raise Invalid(name.path, f"must be {known}, the only provider there is, not {name.text()!r}")


def _tags(field: Field) -> Iterator[Tag]:
    entries = field.entries()
    if len(entries) > _MOST_TAGS:
        raise Invalid(field.path, f"has more than {_MOST_TAGS} tags")
    for name, item in entries.items():
        Field(name, item.path).text()
        item.only("literal", "header", "environment")
        given = [key for key in ("literal", "header", "environment") if item.get(key).present]
        if len(given) != 1:
            raise Invalid(item.path, "needs exactly one of literal, header and environment")
        yield _tag(name, given[0], item.get(given[0]))


def _tag(name: str, source: str, field: Field) -> Tag:
    if source == "literal":
        return Tag(name, source, field.only("value").get("value").text())
    read = field.only("name", "defaultValue").get("name")
    pattern, word = (_HEADER, "header") if source == "header" else (_VARIABLE, "environment variable")
    if not pattern.fullmatch(read.text()):
        raise Invalid(read.path, f"does not name a {word}: {read.text()!r}")
    value = read.text().lower() if source == "header" else read.text()
    return Tag(name, source, value, field.get("defaultValue").text(""))
