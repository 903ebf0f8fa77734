"""Envoy's statistics in Prometheus' text format, turned line by line into the metrics that Istio's users know.

Envoy counts with the few tags of `refmesh.discovery.counting`. Here each becomes the whole set of Istio's labels, so
that dashboards made for Istio read them unchanged. Lines come and go one at a time: a sidecar's memory does not depend
on how much there is to tell. Reference: https://istio.io/latest/docs/reference/config/metrics/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Translation", "Workload"]

_OURS = "envoy_istio_"
_SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_NAME = re.compile(r"[-A-Za-z0-9._]{0,253}")
_IDENTITY = re.compile(r"spiffe://[^/]+/ns/([^/]+)/sa/[^/]+")
_SERVICE = re.compile(r"([^.]+)\.([^.]+)\.svc\..+")
_MAX_STRANGERS = 2000
_UNKNOWN, _NOTHING = "unknown", "-"


@dataclass(frozen=True)
class Workload:
    """One end of a connection. Fields that are not known are empty."""

    name: str = ""
    namespace: str = ""
    app: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Workload | None:
        """Read `workload;namespace;app;version`, or None if it is anything else."""
        parts = text.split(";")
        if len(parts) != 4 or not all(map(_NAME.fullmatch, parts)) or not all(parts[:2]):
            return None
        return cls(*parts)

    def labels(self, end: str, principal: str) -> Iterator[tuple[str, str]]:
        """The labels for an end: `source` or `destination`."""
        yield f"{end}_workload", self.name or _UNKNOWN
        yield f"{end}_workload_namespace", self.namespace or _UNKNOWN
        yield f"{end}_principal", principal or _UNKNOWN
        yield f"{end}_app", self.app or _UNKNOWN
        yield f"{end}_version", self.version or _UNKNOWN
        yield f"{end}_canonical_service", self.app or self.name or _UNKNOWN
        yield f"{end}_canonical_revision", self.version or ("latest" if self.name else _UNKNOWN)
        yield f"{end}_cluster", "Kubernetes" if self.name else _UNKNOWN


@dataclass
class Translation:
    """Translates one scrape. `identity` is the SPIFFE identity of the pod whose proxy it is."""

    own: Workload
    identity: str
    _seen: str = ""
    _labels: str = ""
    _strangers: dict[tuple[str, str], float] = field(default_factory=dict)
    """Samples of peers whose word does not count, added up: they are all the same unknown workload."""
    lost: int = 0

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """The translated lines, each without its end."""
        for line in lines:
            if not line.startswith(("#", _OURS)):
                yield line
            elif line.startswith("#"):
                yield from self._summed()
                yield line.replace(f" {_OURS}", " istio_", 1)
            else:
                sample = self._sample(line)
                if sample:
                    yield sample
        yield from self._summed()

    def _sample(self, line: str) -> str:
        match = _SAMPLE.fullmatch(line)
        if match is None:
            return line
        name, labels, value = match.groups()
        name = name.removeprefix("envoy_")
        # The buckets of a histogram differ in their last label alone.
        labels, separator, bound = labels.rpartition('le="') if "_bucket" in name else (labels, "", "")
        if labels != self._seen:
            self._seen, self._labels = labels, self._translate(dict(_LABEL.findall(labels)))
        translated = f'{self._labels.removeprefix("!")},le="{bound}' if separator else self._labels.removeprefix("!")
        if not self._labels.startswith("!"):
            return f"{name}{{{translated}}} {value}"
        key = (name, translated)
        if key in self._strangers or len(self._strangers) < _MAX_STRANGERS:
            self._strangers[key] = self._strangers.get(key, 0.0) + float(value)
        else:
            self.lost += 1
        return ""

    def _summed(self) -> Iterator[str]:
        for (name, labels), value in self._strangers.items():
            yield f"{name}{{{labels}}} {value:.15g}"
        self._strangers.clear()

    def _translate(self, tags: dict[str, str]) -> str:
        """Istio's labels as text; a leading `!` marks those of a peer that is not what it says."""
        known = {key: "" if value == _NOTHING else value for key, value in tags.items()}
        principal = known.get("principal", "").partition(",")[0]
        peer, sound = _peer(known.get("peer", ""), principal)
        outbound = known.get("reporter") == "source"
        ours = self.identity if principal else ""
        source, destination = (self.own, peer) if outbound else (peer, self.own)
        labels = [
            ("reporter", known.get("reporter", "")),
            *source.labels("source", ours if outbound else principal),
            *destination.labels("destination", principal if outbound else ours),
            *_service(known.get("target", ""), destination),
            *_request(known, tags),
            ("connection_security_policy", _UNKNOWN if outbound else "mutual_tls" if principal else "none"),
        ]
        return ("" if sound else "!") + ",".join(f'{key}="{value}"' for key, value in labels)


def _peer(text: str, principal: str) -> tuple[Workload, bool]:
    """The workload at the other end, and whether what it says agrees with its certificate."""
    identity = _IDENTITY.fullmatch(principal)
    namespace = identity[1] if identity is not None else ""
    if not text:
        return Workload(namespace=namespace), True
    peer = Workload.parse(text)
    if peer is None or (principal and peer.namespace != namespace):
        return Workload(namespace=namespace), False
    return peer, True


def _service(host: str, destination: Workload) -> Iterator[tuple[str, str]]:
    match = _SERVICE.fullmatch(host)
    if match is not None:
        name, namespace = match.groups()
    else:
        name, namespace = host or _UNKNOWN, destination.namespace or _UNKNOWN
    yield "destination_service", host if "." in host else _UNKNOWN
    yield "destination_service_name", name
    yield "destination_service_namespace", namespace


def _request(known: dict[str, str], tags: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "response_code" not in tags:
        yield "request_protocol", "tcp"
    else:
        grpc = known.get("grpc_response_status", "")
        yield "request_protocol", "grpc" if grpc else "http"
        yield "response_code", known["response_code"] or "0"
        yield "grpc_response_status", grpc
    yield "response_flags", tags.get("response_flags", _NOTHING)
