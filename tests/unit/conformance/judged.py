"""The whole suite under pytest, on a cluster with nothing in it, with verdicts of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conformance import session
from conformance.model import Check, Judgement, passed
from conformance.outcomes import as_result, passed_over
from conformance.runner import Runner
from reports.data_files import read_results
from reports.model import Result, Run, Verdict
from tests.unit.conformance.empty_cluster import Keeper, Kube
from tests.unit.conformance.pytest_runs import Done, Runs

ABC = ("WT-01", "WT-02", "WT-03")
Body = Callable[[], Judgement]


class Judged:
    """The suite with a verdict of ours for each check: a pass, but for those of `bodies`."""

    def __init__(self, run: Runs, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run, self._place = run, place
        self.bodies: dict[str, Body] = {}
        self.begun: list[str] = []
        self.swept = 0
        for name, value in {"Kube": Kube, "Keeper": Keeper, "sweep": self._sweep, "sweep_dead": lambda _: []}.items():
            monkeypatch.setattr(session, name, value)

        def verdict(runner: Runner, check: Check, _: str) -> Result:
            self.begun.append(check.id)
            body = self.bodies.get(check.id, lambda: passed("fine"))
            return passed_over(runner.options, check) or as_result(runner.options, check, body())

        monkeypatch.setattr(Runner, "_run", verdict)

    def _sweep(self, *_: object, **__: object) -> list[str]:
        self.swept += 1
        return []

    def __call__(self, *flags: str, only: tuple[str, ...] = ABC, plugins: tuple[object, ...] = ()) -> Done:
        given = ("--mesh", "linkerd", "--image", "i", "--only", ",".join(only), *flags)
        return self._run(*given, where=self._place, plugins=plugins)

    def conclusion(self) -> str:
        return self.written.conclusion

    @property
    def written(self) -> Run:
        return read_results(self._place / "meshproof-report/results.json")

    def verdicts(self) -> dict[str, tuple[Verdict, str]]:
        return {one.id: (one.verdict, one.reason) for one in self.written.results}
