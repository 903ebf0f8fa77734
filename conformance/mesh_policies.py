"""Policies that a check makes for the whole mesh: beside none of the user's, marked, withdrawn after a dead run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conformance.adapters.base import Rival, for_all
from fixtures.kube import ApiProblem, Kube
from fixtures.kube.runner import RUN_LABEL, RUNNER, is_dead, runner_name
from reports.errors import EnvironmentProblem

__all__ = ["expect_no_rivals", "in_the_way", "marked", "withdraw_dead"]

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
