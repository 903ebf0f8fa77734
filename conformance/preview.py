"""What a run would do, in words, without a cluster: the answers to `--list` and `--dry-run`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.adapters import Adapter
from conformance.catalogue import ground_of
from conformance.ground import nobody_joins, render_ground
from conformance.selection import Selection
from conformance.usage import as_usage

__all__ = ["listed", "planned"]


def listed(selection: Selection) -> Iterator[str]:
    """One line a check."""
    widest = max(len(one.id) for one in selection.checks)
    for one in selection.checks:
        excuse = f" (unsupported: {selection.excused[one.id]})" if one.id in selection.excused else ""
        excuse = f" (left out: {selection.spared[one.id]})" if one.id in selection.spared else excuse
        yield f"{one.id:{widest}}  {one.level:8}  {one.title}{excuse}"


def planned(selection: Selection, adapter: Adapter) -> Iterator[str]:
    """The namespaces that would be created, each with its pods, and the checks that would be judged in them."""
    judged, grounds = len(selection.judged), len(selection.grounds)
    yield f"{judged} checks of {adapter.title} on {grounds} grounds; nothing else is touched"
    if why := nobody_joins(adapter):
        yield f"no workload would opt in to the mesh: {why}"
    for name in selection.grounds:
        ground = ground_of(name)
        ids = [one.id for one in selection.judged if one.ground == name]
        pods = sum(one.replicas for one in ground.workloads)
        with as_usage():  # an adapter of somebody else's may render what is none
            layers = render_ground(ground, adapter, run="RUN", image="IMAGE")
        spaces = ", ".join(layer.namespace for layer in layers)
        objects = sum(len(layer.objects) for layer in layers)
        yield f"{name}: namespaces {spaces}; {objects} objects, {pods} pods; {', '.join(ids)}"
    for one in selection.checks:
        if one.id in selection.excused:
            yield f"{one.id} would be unsupported: {selection.excused[one.id]}"
        if one.id in selection.spared:
            yield f"{one.id} would be left out: {selection.spared[one.id]}"
