"""A run by a user who may do what README asks for in a cluster, and nothing beyond."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import session
from conformance.adapters import load
from conformance.keeper import Keeper
from conformance.model import passed
from conformance.outage import restore
from conformance.outcomes import as_result
from conformance.runner import Runner
from conformance.sweeping import sweep
from fixtures.kube import ApiProblem
from meshproof_cli.images import nodes_have
from reports.data_files import read_results
from reports.model import Verdict
from tests.unit.conformance import empty_cluster
from tests.unit.conformance.pytest_runs import Runs


class Tenancy:
    """A cluster whose user may not list what is in no namespace, nor what is in the mesh's."""

    host, version = "h", "1"

    def __init__(self, *there: str, status: int = 403) -> None:
        self.there, self.status = list(there), status
        self.looked: list[str] = []

    def list(self, _: str, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:  # noqa: ARG002
        if namespace in ("", "mesh-system"):
            said = f'{kind} is forbidden: User "ci" cannot list resource "{kind}" in API group ""'
            raise ApiProblem(said, status=self.status, message=said)
        self.looked.append(namespace)
        return []

    def get(self, *_: object) -> None:
        """Nothing is there."""

    def delete(self, _: str, __: str, name: str) -> bool:
        found = name in self.there
        self.there = [one for one in self.there if one != name]
        return found

    def wait_gone(self, _: str, __: str, name: str, *, timeout: float) -> None:  # noqa: ARG002
        assert name not in self.there


def test_the_namespaces_that_the_run_has_made_are_removed_though_nobody_may_look_for_them() -> None:
    cluster: Any = Tenancy("of-this-run", "of-another")
    assert sweep(cluster, "r", known=["of-this-run", "never-made"]) == []
    assert cluster.there == ["of-another"]
    out_of_order: Any = Tenancy("of-this-run", status=500)
    with pytest.raises(ApiProblem):
        sweep(out_of_order, "r", known=["of-this-run"])


def test_what_a_killed_run_may_have_left_keeps_nobody_from_judging() -> None:
    cluster: Any = Tenancy()
    assert not restore(cluster, ("mesh-system", "mesh"))
    assert not nodes_have(cluster, "image")


def test_the_suite_judges_and_sweeps(run: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[Tenancy] = []

    class Grounds(empty_cluster.Keeper):
        """Whose namespaces are there once they are asked for."""

        def __init__(self, kube: Tenancy, *_: object, run: str, **__: object) -> None:
            super().__init__()
            kube.there += [f"mp-{run}-wt-in"]
            there.append(kube)

    monkeypatch.setattr(session, "Kube", SimpleNamespace(connect=lambda *_: Tenancy()))
    monkeypatch.setattr(session, "Keeper", Grounds)
    monkeypatch.setattr(Runner, "_run", lambda one, check, _: as_result(one.options, check, passed("fine")))
    run("--mesh", "none", "--image", "i", "--only", "WT-01", where=tmp_path)
    found = read_results(tmp_path / "meshproof-report/results.json")
    assert [one.verdict for one in found.results] == [Verdict.PASS]
    assert not [one.problem for one in found.stages if one.problem]
    assert there[0].there == []


def test_a_wait_for_pods_looks_at_the_namespaces_it_waits_for() -> None:
    cluster: Any = Tenancy()
    keeper = Keeper(cluster, load("none"), run="r", image="i", runner="x")
    keeper._awaited.add("mine")
    try:
        assert keeper._ready_pods() == set()
    finally:
        keeper.close()
    assert cluster.looked == ["mine"]
