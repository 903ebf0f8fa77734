"""Carrying a plan out: whatever fails, there is a report and the cluster is gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.log import NotTakenBack
from chaos.settings import Settings
from fixtures.cluster import Cluster
from fixtures.kube import NotEventually
from load.meshing import limited
from meshproof_cli import ground, judging
from meshproof_cli.execute import execute, finished, options_of
from meshproof_cli.ground import Ground
from meshproof_cli.output import Output
from meshproof_cli.plan import Known, Options, Plan, Selection
from meshproof_cli.run import carry_out
from meshproof_cli.stages import Stages
from meshproof_cli.suite import Suite
from reports.data_files import read_results
from reports.errors import EnvironmentProblem, ExitCode
from reports.files import claim_directory
from reports.model import Result, Run, Verdict
from reports.writers import FORMATS

KNOWN = Known({"WT-01": "WT"}, ("C1",), ("LAT01",), {"WT-01": "two", "C1": "gone", "LAT01": "lat"})
PLAN = Plan(Options(), Selection(("WT-01",), ("C1",), ("LAT01",)), "embedded", create=True, build_image=True, workers=1)


class Maker:
    """A provider that remembers what was done to it."""

    name = "embedded"

    def __init__(self) -> None:
        self.done: list[str] = []

    def logs(self, _name: str, directory: Path) -> None:
        self.done.append("logs")
        directory.mkdir()

    def delete(self, _name: str) -> None:
        self.done.append("delete")


def passed(one: str, kind: Any) -> tuple[Result, ...]:
    return (Result(one, "", kind, "", "core", Verdict.PASS, "fine"),)


def make_ground(_plan: Plan, stages: Stages, ground: Ground) -> None:
    with stages.stage("cluster"):
        ground.cluster = Cluster("run-1", "embedded", Path("k"))
        ground.kube = SimpleNamespace(close=lambda: None)  # type: ignore[assignment]


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Maker:
    made = Maker()

    monkeypatch.setattr("meshproof_cli.execute.provider", lambda *_, **__: made)
    monkeypatch.setattr("meshproof_cli.execute.prepare", make_ground)
    monkeypatch.setattr("meshproof_cli.execute._about", lambda *_: {"mesh version": "1", "kernel": "6"})
    monkeypatch.setattr(judging, "conformance", lambda *_: passed("WT-01", "check"))
    monkeypatch.setattr(judging, "chaos", lambda *_: passed("C1", "experiment"))
    monkeypatch.setattr(judging, "latency", lambda *_: passed("LAT01", "measurement"))
    return made


def go(directory: Path) -> tuple[Run, BaseException | None]:
    run, trouble = execute(PLAN, KNOWN, directory, "0.1.0", Stages())
    assert read_results(directory / "results.json").results == run.results
    return run, trouble


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_all_is_well(maker: Maker, tmp_path: Path) -> None:
    run, trouble = go(tmp_path)
    assert trouble is None
    assert run.exit_code is ExitCode.CONFORMANT
    assert [stage.name for stage in run.stages] == [
        "cluster", "conformance", "chaos", "latency", "report", "clean-up",
    ]  # fmt: skip
    assert run.mesh_version == "1"
    assert run.environment == {"kernel": "6"}
    assert maker.done == ["delete"]


def test_a_run_that_is_ended_at_once_leaves_the_report_before_it(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = claim_directory(tmp_path / "report")
    go(place)
    monkeypatch.setattr("meshproof_cli.execute.prepare", failing(KeyboardInterrupt()))
    for _ in range(2):
        go(place)
        assert f"the report of an earlier run is kept in {place / 'before'}" in capsys.readouterr().err
        assert read_results(place / "before" / "results.json").exit_code is ExitCode.CONFORMANT


@pytest.mark.parametrize("error", [EnvironmentProblem("no room"), ValueError("a bug")])
def test_a_failed_stage_lets_the_others_go_on(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(judging, "chaos", failing(error))
    run, trouble = go(tmp_path)
    assert trouble is error
    assert [one.verdict.value for one in run.results] == ["pass", "not-run", "pass"]
    assert maker.done == ["delete"]


@pytest.mark.parametrize(
    ("verdict", "error", "code"),
    [
        (Verdict.FAIL, EnvironmentProblem("no room"), ExitCode.NOT_CONFORMANT),
        (Verdict.FAIL, NotEventually("pods", 60.0, None, 9), ExitCode.NOT_CONFORMANT),
        (Verdict.FAIL, NotTakenBack("a fault is in force still"), ExitCode.ENVIRONMENT),
        (Verdict.PASS, EnvironmentProblem("no room"), ExitCode.ENVIRONMENT),
    ],
)
def test_a_mesh_that_failed_has_failed_whatever_the_machine_does_later(
    maker: Maker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verdict: Verdict,
    error: EnvironmentProblem,
    code: ExitCode,
) -> None:
    result = replace(passed("WT-01", "check")[0], verdict=verdict)
    monkeypatch.setattr(judging, "conformance", lambda *_: (result,))
    monkeypatch.setattr(judging, "latency", failing(error))
    monkeypatch.setattr("meshproof_cli.preflight.check", lambda _: None)
    with pytest.raises(EnvironmentProblem) as ended:
        carry_out(replace(PLAN, options=Options(report_dir=tmp_path / "report")), KNOWN, Output.JSON)
    assert ended.value is error
    assert ended.value.exit_code is code


@pytest.mark.parametrize("error", [EnvironmentProblem("no cluster"), KeyboardInterrupt()])
def test_without_ground_nothing_is_judged(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def half(plan: Plan, stages: Stages, ground: Ground) -> None:
        make_ground(plan, stages, ground)
        raise error

    monkeypatch.setattr("meshproof_cli.execute.prepare", half)
    run, trouble = go(tmp_path)
    assert trouble is error
    assert {one.verdict for one in run.results} == {Verdict.NOT_RUN}
    assert maker.done == ["logs", "delete"]


def test_an_interrupt_ends_the_judging(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "chaos", failing(KeyboardInterrupt()))
    run, trouble = go(tmp_path)
    assert isinstance(trouble, KeyboardInterrupt)
    assert [one.verdict.value for one in run.results] == ["pass", "not-run", "not-run"]
    assert maker.done[-1] == "delete"


def test_what_was_handed_out_before_an_interrupt_is_in_the_report(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_plan: Plan, _ground: Ground, _report: object, keep: Callable[[Result], None]) -> None:
        keep(passed("C1", "experiment")[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "chaos", half)
    run, trouble = go(tmp_path)
    assert isinstance(trouble, KeyboardInterrupt)
    assert [one.verdict.value for one in run.results] == ["pass", "pass", "not-run"]


def test_what_can_do_harm_is_repeated_on_the_same_cluster() -> None:
    options = Options(
        mesh="istio", kubeconfig=Path("/k"), context="far", image="i", disruptive=True, assignments=("revision=canary",)
    )
    plan = replace(PLAN, options=options, provider="existing", create=False)
    again = {one.id: one.reproduce for one in finished(plan, KNOWN, passed("C1", "experiment"), None)}["C1"]
    assert again == (
        "meshproof run --mesh istio --cluster existing --kubeconfig /k --context far --image i --disruptive"
        " --set revision=canary --report-dir meshproof-report-C1 --only C1"
    )


def test_the_users_time_limits_reach_chaos_and_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def take(*words: object) -> tuple[Result, ...]:
        given.extend(words)
        return ()

    monkeypatch.setattr("chaos.run", take)
    monkeypatch.setattr("load.run_short", take)
    monkeypatch.setattr(judging, "_cluster", lambda *_: None)
    plan = replace(PLAN, options=Options(assignments=("timeouts.in-force=33", "timeouts.ground-ready=122")))
    ground: Any = SimpleNamespace(image="i")
    judging.chaos(plan, ground, lambda _: None, lambda _: None)
    assert (given[5].strict_timeout, given[5].ready_timeout) == (33, 122)
    given.clear()
    judging.latency(plan, ground, lambda _: None)
    assert given[4] == {"in-force": 33, "ground-ready": 122}
    assert limited(Settings(), {}) == Settings()


def test_nothing_is_measured_with_a_fault_in_force(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stayed = NotTakenBack("it is still there")
    stayed.results = (replace(passed("C1", "experiment")[0], verdict=Verdict.FAIL),)
    monkeypatch.setattr(judging, "chaos", failing(stayed))
    run, trouble = go(tmp_path)
    assert trouble is stayed
    assert [one.verdict.value for one in run.results] == ["pass", "fail", "not-run"]
    assert maker.done[-1] == "delete"


def test_a_broken_writer_spares_the_others_and_the_clean_up(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports.writers import write as real

    def write(run: Run, directory: Path, formats: list[str]) -> dict[str, Path]:
        if formats == ["html"]:
            raise ValueError("a bug")
        return real(run, directory, formats)

    monkeypatch.setattr("meshproof_cli.execute.write", write)
    _, trouble = go(tmp_path)
    assert isinstance(trouble, ValueError)
    assert maker.done == ["delete"]
    assert len(list(tmp_path.iterdir())) == len(FORMATS) - 1


def test_a_run_counts_as_over_only_if_its_process_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems without /proc too."""
    with subprocess.Popen(["true"]) as gone:
        pass
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert ground._runs(os.getpid())
    assert not ground._runs(gone.pid)


def test_what_disturbs_a_cluster_is_done_again_with_the_same_consent() -> None:
    plan = replace(PLAN, create=False, provider="existing", options=Options(disruptive=True))
    (again,) = finished(replace(plan, selection=Selection((), ("C1",), ())), KNOWN, (), None)
    assert "--disruptive" in again.reproduce


def test_the_rate_of_false_alarms_reaches_the_suite_and_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Suite] = []
    judged = SimpleNamespace(results=(), stages=())

    def judge(suite: Suite, _: object) -> SimpleNamespace:
        asked.append(suite)
        return judged

    monkeypatch.setattr(judging, "judge", judge)
    here = SimpleNamespace(access=[], image="i")
    for options, flags, told in (
        (Options(alpha=1e-3), ["--mesh-alpha", "0.001"], {"alpha": 1e-3}),
        (Options(), [], {}),
    ):
        plan = replace(PLAN, options=options)
        judging.conformance(plan, here, tmp_path, lambda _: None)  # type: ignore[arg-type]
        given = list(asked[-1].flags)
        assert given[given.index("--mesh-alpha") :][:2] == flags if flags else "--mesh-alpha" not in given
        assert told.items() <= options_of(plan).items()
        assert ("alpha" in options_of(plan)) == bool(told)
