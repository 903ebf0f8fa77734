"""What MTLS-12 collects of meshes that are strict by themselves or not, and look at the mode for all of them or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import Rendered, load
from conformance.checks.levels import levels
from conformance.checks.upheaval_judges import judge_levels
from conformance.context import Context
from conformance.intents import Intent
from conformance.model import Judgement
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

SPACE = "mp-in"


class _Mesh:
    """Istio's policies, in force at once. `usual`: the mode where none is."""

    def __init__(self, usual: str, *, ignores: str = "") -> None:
        self.usual, self.ignores = usual, ignores
        self.run, self.kube = "r", self
        self.applied: list[Any] = []
        self.policies: dict[tuple[str, str], str] = {}
        self.adapter = load("istio")

    # -- what the check asks of its context and of the cluster -----------------------------------------------------

    def space(self, _: str) -> str:
        return SPACE

    def pod(self, _: str) -> str:
        return "server"

    def url(self, *_: object) -> str:
        return "http://server/"

    def render(self, intent: Intent) -> Rendered:
        return cast("Rendered", self.adapter.render(intent))

    def list(self, *_: object) -> Sequence[Any]:
        return ()

    def apply(self, *wanted: Any) -> None:
        """Of intents as a context, of objects as a cluster."""
        for one in wanted:
            for item in self.render(one).objects if isinstance(one, Intent) else (one,):
                meta = item["metadata"]
                self.policies[meta["namespace"], meta["name"]] = item["spec"]["mtls"]["mode"]

    def remove(self, *objects: Any) -> None:
        for one in objects:
            del self.policies[one["metadata"]["namespace"], one["metadata"]["name"]]

    def until(self, probe: Callable[[], bool], what: str, _: float) -> None:
        assert probe(), what

    def watch(self, probe: Callable[[], bool], _: float) -> None:
        probe()

    def client(self) -> Any:
        return SimpleNamespace(batch=lambda batch: self._answers(batch, taken=True))

    def outsider(self) -> Any:
        return SimpleNamespace(batch=lambda batch: self._answers(batch, taken=self._mode() == "PERMISSIVE"))

    def sniff(self, *order: Any) -> dict[str, Any]:
        records = order[-1]()
        return {"records": records, "plaintext_hits": len(records)}

    # -- what it does ----------------------------------------------------------------------------------------------

    def _mode(self) -> str:
        where = {"workload": (SPACE, "server"), "namespace": (SPACE, "default"), "mesh": ("istio-system", "meshproof")}
        told = [self.policies.get(key) for level, key in where.items() if level != self.ignores]
        return next(filter(None, told), self.usual)

    def _answers(self, batch: Batch, *, taken: bool) -> Sequence[Record]:
        one = Record(0.0, 0.1, status=200, reply={"pod": "a"}) if taken else Record(0.0, 0.1, error="reset")
        return [one] * cast("int", batch.count)


def judged(mesh: _Mesh) -> Judgement:
    return judge_levels(levels(cast("Context", mesh)))


@pytest.mark.parametrize("usual", ["STRICT", "PERMISSIVE"])
def test_a_sound_mesh_passes_whatever_its_mode_is_where_nobody_says_any(usual: str) -> None:
    mesh = _Mesh(usual)
    assert judged(mesh).verdict is Verdict.PASS
    assert set(mesh.policies) == {(SPACE, "default"), (SPACE, "server")}  # nothing is left for the whole mesh


@pytest.mark.parametrize("usual", ["STRICT", "PERMISSIVE"])
@pytest.mark.parametrize("ignores", ["mesh", "namespace", "workload"])
def test_a_level_that_is_not_looked_at_is_seen_whatever_the_mode_is_where_nobody_says_any(
    usual: str, ignores: str
) -> None:
    found = judged(_Mesh(usual, ignores=ignores))
    assert (found.verdict, ignores in found.reason) == (Verdict.FAIL, True)
