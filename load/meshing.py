"""What a measurement must know of a mesh: how pods get into it, and how it is made strict.

The command line fills it from the mesh's adapter; this room knows no adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from fixtures.kube import Kube  # the driver's pod has no Kubernetes client

    T = TypeVar("T", bound=DataclassInstance)

__all__ = ["Manifest", "Meshing", "Strict", "Wanted", "limited"]

Manifest = Mapping[str, Any]

_LIMITS = {"ground-ready": "ready_timeout", "in-force": "strict_timeout"}
"""What a limit of the settings is called in the plans of experiments and measurements."""


@dataclass(frozen=True)
class Strict:
    """What makes a namespace accept mutual TLS only."""

    objects: tuple[Manifest, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the namespace itself, from its creation on."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why the mesh has no words for it; "" where it has."""


def _nothing(_: str) -> Strict:
    return Strict()


def _free(_: str) -> tuple[Manifest, ...]:
    return ()


@dataclass(frozen=True)
class Meshing:
    """One mesh, as seen by whoever puts pods into it."""

    mesh: str
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    namespace_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    outside_labels: Mapping[str, str] = field(default_factory=dict)
    outside_annotations: Mapping[str, str] = field(default_factory=dict)
    """Both of pods that must stay out of the mesh, whatever takes in those of other namespaces."""
    proxy: str = ""
    """Name of the container that the mesh puts into each of its pods; "" where it puts none."""
    strict: Callable[[str], Strict] = _nothing
    """Given a namespace."""
    called: Callable[[str], tuple[Manifest, ...]] = _free
    """Given a workload, by its label `app`: what a mesh that denies by default needs for others to call it. Objects for
    the namespace they are created in."""
    needs_service: bool = False
    """Whether every pod must belong to a Service, clients included."""

    @property
    def injects(self) -> bool:
        """Whether there is anything to put pods into."""
        marks = (self.namespace_labels, self.namespace_annotations, self.pod_labels, self.pod_annotations)
        return any(marks)


@dataclass(frozen=True)
class Wanted:
    """What the user's settings ask for, as the command line of a measurement needs it."""

    meshing: Meshing
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """Seconds, by the names of the settings."""
    image: str = ""
    dressed: Callable[[Kube], Kube] = lambda kube: kube
    """The cluster on which pods and namespaces come as the settings say."""


def limited(plan: T, seconds: Mapping[str, float]) -> T:
    """The same plan with the user's own limits, as far as it has such."""
    return replace(plan, **{_LIMITS[name]: value for name, value in seconds.items() if name in _LIMITS})
