"""Policies that are not a check's own: what others have for the whole mesh, or make in every new namespace.

Those that a check makes for the whole mesh: beside none of the user's, marked, withdrawn after a dead run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from conformance.adapters.base import Adapter, Rendered, Rival, for_all
from conformance.intents import Access, Effect, Mode, MtlsMode, WayOut
from fixtures.kube import FIELD_MANAGER, UNKNOWN_KIND, ApiProblem, Kube
from fixtures.kube.runner import RUN_LABEL, RUNNER, is_dead, runner_name
from reports.errors import EnvironmentProblem

__all__ = ["expect_no_rivals", "expect_own_policies", "in_the_way", "marked", "withdraw_dead"]

Manifest = Mapping[str, Any]


def marked(policies: Iterable[Manifest], run: str) -> tuple[Manifest, ...]:
    """The same policies with the marks by which a later run knows whose they are."""
    return tuple(
        {
            **one,
            "metadata": {
                **one["metadata"],
                "labels": {**one["metadata"].get("labels", {}), RUN_LABEL: run},
                "annotations": {**one["metadata"].get("annotations", {}), RUNNER: runner_name()},
            },
        }
        for one in policies
    )


def in_the_way(kube: Kube, policies: Iterable[Manifest]) -> tuple[str, ...]:
    """Policies of the same kinds that hold for the whole mesh already, whatever they are called, as Kind space/name.

    Some meshes have policies that are in no namespace.
    """
    found = {
        " ".join([one["kind"], "/".join(filter(None, [space, item["metadata"]["name"]]))])
        for one in policies
        for space in [one["metadata"].get("namespace")]
        for item in kube.list(one["apiVersion"], one["kind"], space)
        if for_all(item)
    }
    return tuple(sorted(found))


def expect_no_rivals(kube: Kube, rivals: Iterable[Rival]) -> None:
    """`EnvironmentProblem` where a policy for the whole mesh keeps an intent from holding, or nobody may look."""
    for rival in rivals:
        try:
            there = kube.list(rival.api_version, rival.kind, rival.namespace)
        except ApiProblem as problem:
            what = f"whether a {rival.kind} in {rival.namespace} undoes those of this check"
            raise EnvironmentProblem(f"{what} cannot be told: {problem.problem}") from problem
        if found := sorted(item["metadata"]["name"] for item in there if for_all(item) and rival.undoes(item)):
            names = ", ".join(f"{rival.namespace}/{name}" for name in found)
            what = f"{rival.kind} {names} holds for the whole mesh beside those of this check, and undoes them"
            raise EnvironmentProblem(f"{what}: judge this on a mesh without it")


def expect_own_policies(kube: Kube, adapter: Adapter, spaces: Iterable[str]) -> None:
    """`EnvironmentProblem` where others have put policies into namespaces of the run, as engines do into new ones.

    Looked for are the kinds in which the mesh says who may call and be called, and how. Who may not look goes on.
    """
    kinds = _kinds(adapter)
    for space in spaces:
        for version, kind in kinds:
            try:
                there = kube.list(version, kind, space)
            except ApiProblem as problem:
                if problem.without_rights or problem.reason == UNKNOWN_KIND:
                    continue
                raise
            if found := sorted(item["metadata"]["name"] for item in there if _of_others(item, adapter.name)):
                raise EnvironmentProblem(
                    f"{kind} {', '.join(found)} is in {space}, a namespace of this run, which has not made it",
                    fix="have what makes it spare the run's namespaces, as by a label (namespaces.labels in --config)",
                )


def _kinds(adapter: Adapter) -> list[tuple[str, str]]:
    """The kinds in which a mesh says who may call whom, with which mTLS, and who gets out; of any namespace."""
    intents = (
        Access("any", "any", "any", Effect.ALLOW, ()),
        MtlsMode("any", Mode.STRICT),
        MtlsMode("any", Mode.STRICT, "any"),
        WayOut("any", "any", registered_only=True),
    )
    found: set[tuple[str, str]] = set()
    for intent in intents:
        with contextlib.suppress(Exception):  # of an adapter that cannot render one its own check will tell
            if isinstance(rendered := adapter.render(intent), Rendered):
                found.update((str(item["apiVersion"]), str(item["kind"])) for item in rendered.objects)
    return sorted(found)


def _of_others(item: Manifest, mesh: str) -> bool:
    """Whether an object was written by others alone, as far as the API server has kept who did, and not by the mesh."""
    managers = {str(one.get("manager", "")) for one in item["metadata"].get("managedFields") or ()}
    return bool(managers) and FIELD_MANAGER not in managers and not any(mesh in one for one in managers)


def withdraw_dead(kube: Kube, policies: Iterable[Manifest]) -> list[str]:
    """Delete those of these policies that a killed run of this machine left. Returns their names."""
    left = []
    for one in policies:
        where = one["apiVersion"], one["kind"], one["metadata"]["name"], one["metadata"].get("namespace")
        try:
            meta = (kube.get(*where) or {}).get("metadata", {})
        except ApiProblem as problem:
            if problem.status != 403:  # who may not read it has not made it either
                raise
            continue
        if RUN_LABEL in (meta.get("labels") or {}) and is_dead((meta.get("annotations") or {}).get(RUNNER, "")):
            kube.delete(*where)
            left.append(where[2])
    return left
