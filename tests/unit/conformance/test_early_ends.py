"""Runs that end before their end, on a cluster with nothing in it: what is missing must not look like nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance import opening, session
from conformance.catalogue import check_of
from conformance.model import Judgement, failed, passed
from conformance.outcomes import as_result
from conformance.runner import Options
from conformance.tally import Tally
from fixtures.kube.missing_images import Missing
from meshproof_cli.suite import OUTCOME, WAITS
from reports.data_files import read_results
from reports.earlier import BEFORE
from reports.errors import EnvironmentProblem, ExitCode
from reports.files import MARKER
from reports.gateway_api import Implementation, conformance_report
from reports.model import Verdict, result_to_json
from tests.unit.conformance.empty_cluster import Keeper, Kube
from tests.unit.conformance.judged import ABC, Body, Judged
from tests.unit.conformance.pytest_runs import Runs

PASS, FAIL, NOT_RUN = Verdict.PASS, Verdict.FAIL, Verdict.NOT_RUN


def test_a_line_of_progress_passes_what_pytest_captures(suite: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Missing("p", "c", "i", "ErrImagePull", "429 Too Many Requests").line("wt")

    class Waits(Keeper):
        def __init__(self, *_: object, **given: Any) -> None:
            super().__init__()
            suite.bodies["WT-01"] = lambda: given["tell"](line) or passed("fine")

    monkeypatch.setattr(session, "Keeper", Waits)
    lines = suite("-vv").stdout.splitlines()  # once more than quiet
    assert [WAITS.match(one) is not None for one in lines].count(True) == 1
    # And the check under way still has its outcome on the line with its name.
    assert [found[2] or found[3] for one in lines if (found := OUTCOME.search(one))] == list(ABC)


def ended(said: str) -> Body:
    """A check that a plugin of pytest's cuts off, as pytest-timeout does."""

    def body() -> Judgement:
        pytest.fail(said)

    return body


def test_a_check_that_a_plugin_of_pytests_cuts_off_has_not_run_and_nothing_is_proven(suite: Judged) -> None:
    suite.bodies["WT-02"] = ended("Timeout (>2.0s) from pytest-timeout.")
    done = suite()
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    found = suite.verdicts()
    assert {name: verdict for name, (verdict, _) in found.items()} == {"WT-01": PASS, "WT-02": NOT_RUN, "WT-03": PASS}
    assert found["WT-02"][1] == "it was ended before it had a verdict: Failed: Timeout (>2.0s) from pytest-timeout."
    assert not any(one.left_out for one in suite.written.results)
    assert suite.written.exit_code is ExitCode.NOT_PROVEN
    assert suite.begun == list(ABC)


class Limited:
    """Registered as pytest-timeout is: notes what limit the items have."""

    def __init__(self) -> None:
        self.limits: list[Any] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "timeout(seconds): a limit")
        config.pluginmanager.register(SimpleNamespace(), "timeout")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        found = [item.get_closest_marker("timeout") for item in session.items]
        self.limits = [one.args for one in found if one is not None]


def test_a_projects_limit_for_its_own_tests_is_none_for_a_check(suite: Judged) -> None:
    limited = Limited()
    suite("--strict-markers", plugins=(limited,))
    assert limited.limits == [(0,)] * 3


def test_an_end_after_the_first_failure_shows(suite: Judged) -> None:
    suite.bodies["WT-01"] = lambda: failed("no")
    suite("-x")
    found = suite.verdicts()
    said = "the run ended before it was judged: stopping after 1 failures"
    assert found == {"WT-01": (FAIL, "no"), "WT-02": (NOT_RUN, said), "WT-03": (NOT_RUN, said)}
    assert [one.problem for one in suite.written.stages if one.name == "judging"] == ["stopping after 1 failures"]
    assert suite.written.exit_code is ExitCode.NOT_CONFORMANT


def test_an_interrupt_shows(suite: Judged) -> None:
    def interrupt() -> Judgement:
        raise KeyboardInterrupt

    suite.bodies["WT-02"] = interrupt
    assert suite().returncode == pytest.ExitCode.INTERRUPTED
    said = "the run ended before it was judged: interrupted"
    assert suite.verdicts() == {"WT-01": (PASS, "fine"), "WT-02": (NOT_RUN, said), "WT-03": (NOT_RUN, said)}


def test_what_pytest_itself_leaves_out_is_in_the_options(suite: Judged) -> None:
    suite("-k", "not WT-02", "-m", "core or extended")
    assert list(suite.verdicts()) == ["WT-01", "WT-03"]
    assert (suite.written.options["keyword"], suite.written.options["marks"]) == ("not WT-02", "core or extended")
    suite("--deselect", "conformance/test_mesh.py::test_mesh[WT-02]")
    assert suite.written.options["deselect"] == ["conformance/test_mesh.py::test_mesh[WT-02]"]
    assert "keyword" not in suite.written.options


class Failing:
    """A project's fixture that comes to every test and fails."""

    @pytest.fixture(autouse=True)
    def of_the_project(self) -> None:
        raise LookupError("no database")


def test_a_run_that_judges_nothing_replaces_what_an_earlier_one_proved(suite: Judged, tmp_path: Path) -> None:
    suite()
    assert suite.conclusion() == "conformant"
    suite(plugins=(Failing(),))
    said = "pytest ended its setup before it had a verdict: LookupError: no database"
    assert suite.verdicts() == dict.fromkeys(ABC, (NOT_RUN, said))
    assert suite.conclusion() == "not proven"
    earlier = tmp_path / "meshproof-report" / BEFORE
    assert read_results(earlier / "results.json").exit_code is ExitCode.CONFORMANT
    assert f"the report of an earlier run is kept in {earlier}" in suite(plugins=(Failing(),)).stdout
    assert read_results(earlier / "results.json").exit_code is ExitCode.CONFORMANT


def test_an_earlier_report_is_put_aside_also_where_the_cluster_is_out_of_reach(
    suite: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite()

    def refuse(*_: object) -> Kube:
        raise EnvironmentProblem("nobody answers")

    monkeypatch.setattr(session, "Kube", SimpleNamespace(connect=refuse))
    assert suite().returncode == pytest.ExitCode.USAGE_ERROR
    assert not (tmp_path / "meshproof-report/results.json").exists()


def test_the_earlier_report_says_what_is_judged_again_before_it_is_put_aside(suite: Judged) -> None:
    suite.bodies["WT-02"] = lambda: failed("no")
    suite()
    suite("--rerun-failed", "meshproof-report")
    assert list(suite.verdicts()) == ["WT-02"]


def test_a_worker_judges_again_what_it_is_told(pytestconfig: pytest.Config) -> None:
    told = SimpleNamespace(
        stash=pytest.Stash(),
        workerinput={"meshproof": {"again": ("WT-02",)}},
        getoption=lambda _: Path("/put/aside/already"),
        invocation_params=pytestconfig.invocation_params,
    )
    assert opening.again(cast("pytest.Config", told)) == ("WT-02",)


def test_a_disk_that_refuses_costs_neither_the_sweep_nor_the_verdicts(
    suite: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: str) -> None:
        raise EnvironmentProblem(f"cannot write {path.name}: No space left on device")

    monkeypatch.setattr(session, "write_text", refuse)
    done = suite()
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR
    assert suite.swept == 1
    assert "ERROR: cannot write results.json: No space left on device" in done.stdout
    assert "WT-02    pass" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_what_cannot_be_swept_is_in_the_report(suite: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise EnvironmentProblem("nobody answers")

    monkeypatch.setattr(session, "sweep", refuse)
    suite()
    problem = suite.written.stages[-1].problem
    assert problem.startswith("the namespaces of the run")
    assert problem.endswith("are still there: nobody answers")


@pytest.mark.parametrize("held", ["", "pipeline.log"])
def test_a_report_directory_is_marked_where_nothing_of_others_is_in_it(tmp_path: Path, held: str) -> None:
    place = tmp_path / "new"
    if held:
        place.mkdir()
        (place / held).touch()
    opening.take_directory(place)
    assert (place / MARKER).exists() is not bool(held)


def test_no_image_is_made_to_know_its_name(run: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "Kube", Kube)
    monkeypatch.setattr("fixtures.images.known_reference", lambda: f"meshproof{session.UNBUILT}")
    done = run("--mesh", "none", "--only", "WT", where=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "this machine has not built an image of the workloads yet (name one" in done.stdout + done.stderr


def test_a_run_tells_of_its_cluster_what_the_command_line_tells(suite: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"Kubernetes": "v1.36.0", "Gateway API": "v1.7.0", "Gateway API channel": "standard"}
    monkeypatch.setattr(session, "facts", lambda _: found)
    suite()
    assert suite.written.environment == {**found, "image": "i"}
    maker = Implementation("acme", "mesh", "https://acme.example", "v1", ("@someone",))
    report = conformance_report(replace(suite.written, mesh="gateway-api"), maker)
    assert (report["gatewayAPIVersion"], report["gatewayAPIChannel"]) == ("v1.7.0", "standard")


def test_a_failure_says_how_it_is_judged_again(suite: Judged) -> None:
    suite.bodies["WT-02"] = lambda: failed("no")
    done = suite()
    assert "judge this check again" in done.stdout
    assert "--mesh-only WT-02" in done.stdout
    assert "--mesh-only WT-01" not in done.stdout


def test_allure_knows_a_check_again_by_its_id_alone(suite: Judged, tmp_path: Path) -> None:
    suite("--alluredir", str(tmp_path / "allure"), only=("WT-02",))
    (path,) = (tmp_path / "allure").glob("*-result.json")
    parameters = {one["name"]: one for one in json.loads(path.read_text())["parameters"]}
    assert parameters.pop("mesh_check")["value"] == "'WT-02'"
    assert parameters
    assert all(one["excluded"] for one in parameters.values())


def tally(*asked: str, **options: Any) -> Tally:
    made = Tally(Options(mesh="linkerd", run="r", image="i", report_dir=Path(), **options))
    made.ask(check_of(name) for name in asked)
    return made


def test_a_check_whose_worker_died_is_open_and_the_rest_of_its_ground_not_run() -> None:
    made = tally("WT-01", "WT-02", "WT-03", "CB-01")
    made.lose_worker("WT-02")
    made.lose("WT-02", "its setup failed")
    found = {one.id: one for one in made.results()}
    assert found["WT-02"].verdict is Verdict.INCONCLUSIVE
    assert found["WT-02"].reason == "its worker died before it had a verdict"
    assert "a worker died while it judged WT-02" in found["WT-03"].reason
    assert found["CB-01"].reason == "the run ended before it was judged"


def test_a_verdict_that_came_in_before_its_worker_died_counts() -> None:
    made = tally("WT-01", "WT-02")
    result = as_result(Options("linkerd", "r", "i", Path()), check_of("WT-02"), passed("fine"))
    made.gather({"result": result_to_json(result), "ground": "wt", "waited": 3.0, "prepared": 0.5})
    made.lose_worker("WT-02")
    assert [one.verdict for one in made.results()] == [NOT_RUN, PASS]
    assert [(one.name, one.seconds) for one in made.stages()][:2] == [("checks wt", 3.0), ("preparing wt", 0.5)]


def test_what_nobody_asked_for_is_left_out_however_a_run_ends() -> None:
    made = tally("WT-01", "WT-02", "WT-03", spared={"WT-02": "on demand"}, excused={"WT-03": "not claimed"})
    made.ended = "interrupted"
    made.lose("WT-03", "its setup failed")
    found = {one.id: (one.verdict, one.left_out, one.reason) for one in made.results()}
    assert found["WT-01"] == (NOT_RUN, False, "the run ended before it was judged: interrupted")
    assert found["WT-02"] == (NOT_RUN, True, "on demand")
    assert found["WT-03"] == (Verdict.UNSUPPORTED, False, "not claimed")


def test_what_is_to_be_pasted_has_the_flags_that_decide_a_verdict(pytestconfig: pytest.Config):
    given: dict[str, Any] = {"mesh_name": "istio", "mesh_context": "far", "mesh_set": ["a=b"], "mesh_alpha": 1e-5}
    config: Any = SimpleNamespace(getoption=given.get, invocation_params=pytestconfig.invocation_params)
    start = "pytest --pyargs conformance --mesh-name istio --mesh-context far"
    end = "--mesh-report-dir meshproof-report-{id} --mesh-only {id}"
    assert opening._reproduce(config) == f"{start} --mesh-set a=b {end}"
    given |= {"mesh_features": "mtls", "mesh_exempt": "grpc routing,WT-02", "mesh_alpha": 1e-3}
    more = "--mesh-features mtls --mesh-exempt 'grpc routing,WT-02' --mesh-alpha 0.001"
    assert opening._reproduce(config) == f"{start} {more} --mesh-set a=b {end}"
