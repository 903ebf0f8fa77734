"""What sensitivity tries, in which order, and how it goes on; the trials themselves are made up."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.catalogue import checks
from conformance.outcomes import UNREACHED
from fixtures.cluster import Cluster
from fixtures.cluster.existing import agree
from meshproof_cli import main
from meshproof_cli.sensitivity import trial as trials
from meshproof_cli.sensitivity import work
from meshproof_cli.sensitivity.aims import AIMS, EXCUSED, UNSEEN
from meshproof_cli.sensitivity.plan import LAST, affected, pick, stages, subjects, waiting
from meshproof_cli.sensitivity.trial import Bench, attempt
from meshproof_cli.sensitivity.work import Record, try_all
from meshproof_cli.suite import Suite, judge
from refmesh import defects
from reports.errors import EnvironmentProblem, UsageProblem
from reports.kill_matrix import write_kill_matrix
from reports.model import Result, Run, Verdict
from reports.sensitivity import CheckInfo, Matrix, Outcome, Subject, Trial, matrix_json, read_matrix

LISTED = [
    {"name": "v-same", "kind": "equivalent", "capability": "equivalent"},
    {"name": "w-off", "kind": "defect", "capability": "weights"},
    {"name": "m-open", "kind": "defect", "capability": "mtls"},
    {"name": "strange", "kind": "defect", "capability": "nobody's"},
]
CHECKS = {"INJ-01": "INJ", "WT-01": "WT", "WT-02": "WT", "MTLS-01": "MTLS", "CB-01": "CB"}
EVERY = subjects(LISTED, 2)


def names(found: tuple[Subject, ...]) -> list[str]:
    return [one.name for one in found]


def test_defects_come_first_and_clean_runs_last() -> None:
    assert names(EVERY) == ["w-off", "m-open", "strange", "v-same", "clean-1", "clean-2"]


@pytest.mark.parametrize(
    ("wanted", "equivalents", "left"),
    [
        ((), True, ["w-off", "m-open", "strange", "v-same", "clean-1", "clean-2"]),
        ((), False, ["w-off", "m-open", "strange", "clean-1", "clean-2"]),
        (("none",), True, ["v-same", "clean-1", "clean-2"]),
        (("weights",), True, ["w-off", "clean-1", "clean-2"]),
        (("m-open", "v-same"), False, ["m-open", "v-same", "clean-1", "clean-2"]),
    ],
)
def test_what_is_picked(wanted: tuple[str, ...], equivalents: bool, left: list[str]) -> None:
    assert names(pick(EVERY, wanted, equivalents=equivalents)) == left


def test_an_unknown_word_and_nothing_are_one_sentence() -> None:
    with pytest.raises(UsageProblem, match="no defect or capability called 'wieghts'"):
        pick(EVERY, ("wieghts",), equivalents=True)
    with pytest.raises(UsageProblem, match="nothing to try"):
        pick(subjects(LISTED, 0), ("none",), equivalents=False)


def test_the_groups_that_speak_of_a_defect_are_judged_first() -> None:
    by_name = {one.name: one for one in EVERY}
    assert [stage.ids for stage in stages(by_name["w-off"], CHECKS)] == [
        ("WT-01", "WT-02"),
        ("INJ-01", "MTLS-01", "CB-01"),
    ]
    assert [stage.ids for stage in stages(by_name["m-open"], CHECKS)] == [
        ("MTLS-01",),
        ("INJ-01",),
        ("WT-01", "WT-02", "CB-01"),
    ]
    assert [stage.ids for stage in stages(by_name["w-off"], CHECKS, affected_only=True)] == [("WT-01", "WT-02")]
    assert [stage.ids for stage in stages(by_name["v-same"], CHECKS)] == [tuple(CHECKS)]
    assert affected(by_name["strange"], CHECKS.values()) == ("INJ", "WT", "MTLS", "CB")


def test_every_check_has_a_defect_that_it_must_find_or_a_reason_and_so_has_every_defect_a_check() -> None:
    asked = {one for ids in AIMS.values() for one in ids}
    assert not asked & EXCUSED.keys()
    assert asked | EXCUSED.keys() == {one.id for one in checks()}
    assert not AIMS.keys() & UNSEEN.keys()
    assert AIMS.keys() | UNSEEN.keys() == {one.name for one in defects.catalogue()}
    assert set(LAST) == {one.id for one in checks() if one.last}


def test_what_must_find_the_defect_is_asked_before_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AIMS, "w-off", ("CB-01", "WT-02", "GW-09"))
    found = stages(EVERY[0], {**CHECKS, "LC-06": "LC"})
    assert [one.ids for one in found] == [("CB-01", "WT-02"), ("WT-01",), ("INJ-01", "MTLS-01"), ("LC-06",)]
    assert [one.whole for one in found] == [True, False, False, False]
    done = replace(DONE, verdicts={"WT-01": Verdict.FAIL})
    assert waiting(EVERY[:1], (done,), image="i", checks=CHECKS)  # WT-02 was not asked


def test_nothing_is_judged_when_the_mesh_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"LC-06": "LC", **CHECKS}
    assert [one.ids for one in stages(EVERY[-1], checks)] == [tuple(CHECKS), ("LC-06",)]
    monkeypatch.setitem(AIMS, "w-off", ("LC-06",))
    assert [one.ids for one in stages(EVERY[0], checks)] == [("LC-06",)]
    survivor = replace(DONE, verdicts={"LC-06": Verdict.PASS})
    assert not waiting(EVERY[:1], (survivor,), image="i", checks=checks)


def test_the_mesh_is_taken_off_the_cluster_that_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[str] = []

    def noted(suite: Suite, *_: object) -> Run:
        flags.extend(suite.flags)
        return run({})

    monkeypatch.setattr(trials, "refmesh", lambda *_, **__: None)
    monkeypatch.setattr(trials, "judge", noted)
    cluster = Cluster("c", "existing", tmp_path / "k", "staging")
    attempt(replace(bench(tmp_path), cluster=cluster, checks={"LC-06": "LC"}), EVERY[-1], lambda _: None)
    (flag,) = [one for one in flags if one.startswith("uninstall=")]
    assert f"--kubeconfig {tmp_path / 'k'} --context staging" in flag


def test_what_must_find_a_defect_and_did_not_is_told(tmp_path: Path) -> None:
    aimed = replace(EVERY[0], aims=("WT-01", "WT-02"), says="off")
    trial = Trial(aimed, {"WT-01": Verdict.FAIL, "WT-02": Verdict.PASS}, {"WT-01": "it is off"})
    matrix = Matrix("m", "1", (CheckInfo("WT-01", "t", "WT"), CheckInfo("WT-02", "t", "WT")), (aimed,), (trial,))
    assert matrix.missed == ((aimed, ("WT-02",)),)
    assert replace(matrix, checks=matrix.checks[:1]).missed == ()  # the user left the other one out
    assert trial.outcome is Outcome.KILLED
    assert replace(trial, reasons={"WT-01": "another thing"}).outcome is Outcome.SURVIVED
    assert read_matrix(matrix_json(matrix)) == matrix
    write_kill_matrix(matrix, tmp_path)
    for file in ("kill-matrix.md", "kill-matrix.html"):
        assert "missed the defect that they must find" in (tmp_path / file).read_text()


@given(
    st.sampled_from(EVERY),
    st.dictionaries(st.text(min_size=1, max_size=4), st.sampled_from(["INJ", "MTLS", "WT"]), min_size=1),
)
def test_every_check_is_judged_once(subject: Subject, checks: dict[str, str]) -> None:
    ids = [one for stage in stages(subject, checks) for one in stage.ids]
    assert sorted(ids) == sorted(checks)


DONE = Trial(EVERY[0], {"WT-01": Verdict.FAIL}, image="i")


@pytest.mark.parametrize(
    ("done", "stale", "open_"),
    [
        (DONE, False, False),
        (replace(DONE, image="older"), False, True),
        (replace(DONE, image="older"), True, False),
        (replace(DONE, problem="broke off"), False, True),
        (replace(DONE, verdicts={"WT-01": Verdict.PASS}), False, True),
        (replace(DONE, verdicts=dict.fromkeys(CHECKS, Verdict.PASS)), False, False),
    ],
)
def test_what_still_waits(done: Trial, stale: bool, open_: bool) -> None:
    left = waiting(EVERY[:1], (done,), image="i", checks=CHECKS, stale=stale)
    assert bool(left) is open_


def test_the_record_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    record = Record(tmp_path / "deep" / "trials.jsonl")
    assert record.read() == ()
    record.add(DONE)
    record.add(replace(DONE, subject=EVERY[1], seed=3))
    with record.path.open("a") as file:
        file.write('{"subject": ')
    assert record.read() == (DONE, replace(DONE, subject=EVERY[1], seed=3))
    record.path.write_text("nonsense\n")
    with pytest.raises(UsageProblem, match="is damaged"):
        record.read()


def bench(tmp_path: Path, *, thorough: bool = False) -> Bench:
    return Bench(Cluster("c", "embedded", tmp_path / "k", None), "i", tmp_path, CHECKS, thorough=thorough)


def run(verdicts: dict[str, Verdict]) -> Run:
    results = tuple(Result(one, "t", "check", CHECKS[one], "core", verdict, "r") for one, verdict in verdicts.items())
    return Run("refmesh", "1", "c", {}, 0, 1, (), results, {}, "0")


@pytest.mark.parametrize(
    ("failing", "thorough", "judged", "outcome"),
    [
        ("WT-02", False, 2, Outcome.KILLED),
        ("WT-02", True, 5, Outcome.KILLED),
        ("CB-01", False, 5, Outcome.KILLED),
        ("", False, 5, Outcome.SURVIVED),
    ],
)
def test_a_trial_stops_when_the_defect_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, thorough: bool, judged: int, outcome: Outcome
) -> None:
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(trials, "refmesh", lambda *words, **_: installed.append(words))
    monkeypatch.setattr(
        trials,
        "judge",
        lambda suite, *_: run({one: Verdict.FAIL if one == failing else Verdict.PASS for one in suite.ids}),
    )
    trial = attempt(bench(tmp_path, thorough=thorough), EVERY[0], lambda _: None)
    assert len(trial.verdicts) == judged
    assert trial.outcome is outcome
    assert trial.by_its_own == (("WT-02",) if failing == "WT-02" else ())
    assert installed[0][-2:] == ("--defect", "w-off")
    clean = attempt(bench(tmp_path), EVERY[-1], lambda _: None)
    assert clean.seed == 2
    assert "--defect" not in installed[1]
    assert clean.outcome is (Outcome.FALSE_ALARM if failing else Outcome.QUIET)


def test_the_first_failure_ends_a_group_and_an_open_end_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def stops_at_what_is_no_pass(suite: Suite, *_: object) -> Run:
        asked.append(tuple(suite.ids))
        assert "-x" in suite.flags
        open_ = {"WT-01": Verdict.INCONCLUSIVE, "CB-01": Verdict.FAIL}
        done: dict[str, Verdict] = {}
        for one in suite.ids:
            done[one] = open_.get(one, Verdict.PASS)
            if one in open_:
                break
        made = run(done)
        # The suite says of the others that it did not come to them: that is no verdict.
        left = [replace(run({one: Verdict.NOT_RUN}).results[0], reason=UNREACHED) for one in suite.ids[len(done) :]]
        return replace(made, results=(*made.results, *left))

    monkeypatch.setattr(trials, "refmesh", lambda *_, **__: None)
    monkeypatch.setattr(trials, "judge", stops_at_what_is_no_pass)
    trial = attempt(replace(bench(tmp_path), first=True), EVERY[0], lambda _: None)
    assert asked == [("WT-01", "WT-02"), ("WT-02",), ("INJ-01", "MTLS-01", "CB-01")]
    assert trial.failed == ("CB-01",)
    assert trial.undecided == ("WT-01",)


def test_a_mesh_that_does_not_come_up_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str, **__: object) -> None:
        raise EnvironmentProblem("it does not serve")

    monkeypatch.setattr(trials, "refmesh", refuse)
    trial = attempt(bench(tmp_path), EVERY[0], lambda _: None)
    assert (trial.outcome, trial.problem) == (Outcome.BROKEN, "it does not serve")


def test_several_clusters_share_the_subjects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=10)

    def one(place: Bench, subject: Subject, _: object) -> Trial:
        if subject.name in ("w-off", "m-open"):
            both.wait()  # neither gets on before the other has begun: they really run side by side
        return Trial(subject, {"WT-01": Verdict.PASS}, image=str(place.directory))

    monkeypatch.setattr(work, "attempt", one)
    record, told = Record(tmp_path / "trials.jsonl"), list[Trial]()
    places = [bench(tmp_path / "a"), bench(tmp_path / "b")]
    try_all(places, EVERY, record, lambda _: None, told.append)
    assert sorted(one.subject.name for one in record.read()) == sorted(names(EVERY))
    assert len(told) == len(EVERY)


def test_an_interrupt_ends_trials_and_records_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(place: Bench, subject: Subject, _: object) -> Trial:
        if subject.name == "w-off":
            raise KeyboardInterrupt
        assert place.cancel.wait(10)
        return Trial(subject, {}, problem="told to end")

    monkeypatch.setattr(work, "attempt", one)
    record = Record(tmp_path / "trials.jsonl")
    with pytest.raises(KeyboardInterrupt):
        try_all([bench(tmp_path), bench(tmp_path)], EVERY, record, lambda _: None, lambda _: None)
    assert record.read() == ()


def test_a_suite_that_is_late_or_not_wanted_is_told_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"]
    monkeypatch.setattr(Suite, "command", property(lambda _: sleeper))
    suite = Suite("m", (), "i", ("WT-01",), tmp_path, limit=0.1)
    with pytest.raises(EnvironmentProblem, match="did not end within 0 s"):
        judge(suite, lambda _: None)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(EnvironmentProblem, match="was told to end"):
        judge(replace(suite, limit=60.0), lambda _: None, cancel)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main.main(["sensitivity", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_the_command_lists_and_refuses_without_a_cluster(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call(capsys, "--list", "--clean", "1", "-o", "json")
    rows = json.loads(out)
    assert code == 0
    assert {row["kind"] for row in rows} == {"defect", "equivalent", "clean"}
    code, out, _ = call(capsys, "--dry-run", "--defects", "weights-off-by-5", "--clean", "0", "--only", "WT-01,CB-01")
    assert out == "weights-off-by-5: WT-01, then CB-01\n"
    code, out, _ = call(
        capsys, "--dry-run", "--defects", "weights-off-by-5", "--clean", "0", "--only", "WT-01,CB-01", "-o", "json"
    )
    assert json.loads(out) == [{"name": "weights-off-by-5", "stages": [["WT-01"], ["CB-01"]]}]
    code, _, err = call(capsys, "--defects", "wieghts")
    assert code == 2
    assert "no defect or capability called 'wieghts'" in err
    Record(tmp_path / "trials.jsonl").add(DONE)
    code, _, err = call(capsys, "--report-dir", str(tmp_path))
    assert code == 2
    assert "--resume" in err
    code, out, _ = call(capsys, "--report-dir", str(tmp_path), "--render", "-o", "json")
    assert code == 4  # of all the subjects only one was tried
    assert [one["subject"]["name"] for one in json.loads(out)["trials"]] == ["w-off"]
    assert (tmp_path / "kill-matrix.html").is_file()


def test_a_trial_after_one_that_was_cut_off_is_not_lost(tmp_path: Path) -> None:
    record = Record(tmp_path / "trials.jsonl")
    record.add(DONE)
    with record.path.open("a", encoding="utf-8") as file:
        file.write('{"subject": {"name": "cut')
    record.add(DONE)
    assert record.read() == (DONE, DONE)


THEIRS = SimpleNamespace(create=lambda _: Cluster("c", "existing", Path("k")))


class Theirs:
    """A cluster of somebody's."""

    host = "https://theirs"

    def __init__(self, namespaces: tuple[str, ...] = ()) -> None:
        self.namespaces = namespaces

    def get(self, _version: str, _kind: str, name: str) -> str | None:
        return name if name in self.namespaces else None


@pytest.mark.parametrize(
    ("there", "yes", "said"),
    [
        (("refmesh-system",), True, "installed on this cluster already"),
        ((), False, "Nobody can be asked here"),
        ((), True, ""),
    ],
)
def test_a_cluster_of_somebody_s_is_given_defects_only_by_consent(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], yes: bool, said: str
) -> None:
    monkeypatch.setattr(
        work, "provider", lambda *_, **__: SimpleNamespace(create=lambda _: Cluster("c", "e", Path("k")))
    )
    monkeypatch.setattr("fixtures.kube.Kube.connect", lambda *_: Theirs(there))
    monkeypatch.setattr(work, "agree", partial(agree, terminal=lambda: False))
    if said:
        with pytest.raises(UsageProblem, match=said):
            work.consent(Path("k"), None, yes=yes)
    else:
        work.consent(Path("k"), None, yes=yes)


def test_a_cluster_of_somebody_s_is_left_without_refmesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        work, "provider", lambda *_, **__: SimpleNamespace(create=lambda _: Cluster("c", "e", Path("k")))
    )
    monkeypatch.setattr(work, "refmesh", lambda *words, **_: done.append(words))

    def make(cluster: Cluster) -> Bench:
        return replace(bench(tmp_path), cluster=cluster)

    with (
        pytest.raises(KeyboardInterrupt),
        work.benches(1, make, None, named=None, kubeconfig=Path("k"), context=None),
    ):
        raise KeyboardInterrupt
    assert done == [("uninstall", "--yes", "--kubeconfig", "k")]
