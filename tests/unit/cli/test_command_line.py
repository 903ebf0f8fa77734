"""The command line: fast help, one-sentence errors, exit codes, output forms."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml

from chaos.log import NotTakenBack
from fixtures.kube import Kube, eventually
from meshproof_cli import lazy, main
from meshproof_cli.interrupts import end_like_ctrl_c
from meshproof_cli.processes import module_command, module_environment
from meshproof_cli.stages import Stages
from meshproof_cli.suite import OUTCOME
from reports.data_files import write_json
from reports.errors import EnvironmentProblem, UsageProblem
from reports.model import Result, Run, Verdict


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    out, err = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else int(code is not None)), out, err


def test_help_imports_no_room() -> None:
    program = (
        "import sys; from meshproof_cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "rooms = {'fixtures', 'conformance', 'chaos', 'load', 'kubernetes', 'jinja2', 'yaml', 'pytest', 'scipy'}\n"
        "print(sorted(rooms & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=module_environment()
    )
    assert done.stderr.strip() == "[]"
    for name in lazy.LAZY:
        assert name in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--version")
    assert code == 0
    assert out.startswith("meshproof ")


def test_unknown_command_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "rnu")
    assert code == 2
    assert "'run'" in err


@pytest.mark.parametrize("what", ["checks", "profiles", "experiments", "faults", "meshes"])
def test_lists(capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, out, _ = call(capsys, "list", what, "-o", "json")
    assert code == 0
    rows = json.loads(out)
    assert rows
    code, out, _ = call(capsys, "list", what, "-o", "yaml")
    assert yaml.safe_load(out) == rows
    code, out, _ = call(capsys, "list", what)
    assert len(out.splitlines()) == len(rows) + 1


def test_dry_run_speaks_to_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "run", "--dry-run", "--cluster", "embedded", "--only", "WT-01", "-o", "json")
    assert code == 0
    assert {"stage": "chaos", "what": "nothing"} in json.loads(out)


@pytest.mark.parametrize(
    ("flags", "named"), [(("--defect", "nonsense"), "nonsense"), (("--set", "nonsense=1"), "nonsense")]
)
def test_dry_run_does_not_promise_what_would_be_refused(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], named: str
) -> None:
    code, out, err = call(capsys, "run", "--dry-run", "--cluster", "embedded", *flags)
    assert (code, out) == (2, "")
    assert named in err


@pytest.mark.parametrize("words", [("chaos", "restore"), ("load", "latency")])
def test_what_changes_a_cluster_tidies_up_when_it_is_told_to_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, str]
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        code, _, _ = call(capsys, *words, "--kubeconfig", str(tmp_path / "none"))
        assert code == 2
        assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [((), ["P1", "N1", "A1"]), (("--disruptive",), ["C1", "P1", "N1", "A1"]), (("C1",), ["C1"])],
)
def test_a_control_plane_is_not_stopped_unasked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], wanted: list[str]
) -> None:
    asked: list[list[str]] = []
    api: Any = SimpleNamespace(host="h")

    def run(_kube: object, _mesh: object, _image: str, chosen: Sequence[str], *_: object) -> tuple[()]:
        asked.append(list(chosen))
        return ()

    monkeypatch.setattr("chaos.cli.run_experiments", run)
    monkeypatch.setattr("fixtures.kube.Kube.connect", lambda *_: Kube(api))
    monkeypatch.setattr("fixtures.interrupts.signal.signal", lambda *_: None)
    assert call(capsys, "chaos", "run", *flags, "--image", "i")[0] == 4
    assert asked == [wanted]


@pytest.mark.parametrize(("ended", "code"), [(NotTakenBack("it is still there"), 3), (KeyboardInterrupt(), 130)])
def test_what_was_found_out_is_shown_also_where_the_run_broke_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ended: BaseException, code: int
) -> None:
    api: Any = SimpleNamespace(host="h")

    def run(*words: Any) -> None:
        words[-1](Result("C1", "one", "experiment", "chaos", "core", Verdict.FAIL, "it broke"))
        raise ended

    monkeypatch.setattr("chaos.cli.run_experiments", run)
    monkeypatch.setattr("fixtures.kube.Kube.connect", lambda *_: Kube(api))
    monkeypatch.setattr("fixtures.interrupts.signal.signal", lambda *_: None)
    given = ["--image", "i", "--context", "far", "--set", "timeouts.in-force=30"]
    found, out, err = call(capsys, "chaos", "run", "C1", *given, "-o", "json")
    assert found == code
    (row,) = json.loads(out)
    assert (row["id"], row["verdict"]) == ("C1", "fail")
    assert row["reproduce"] == (
        "meshproof chaos run C1 --mesh refmesh --context far --image i --set timeouts.in-force=30"
    )
    assert code != 3 or "still there" in err


@pytest.mark.parametrize("words", [("features",), ("conformance",), ("conformance", "--mesh", "auto")])
@pytest.mark.parametrize("broken", [False, True])
def test_every_command_says_the_same_of_a_kubeconfig_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], broken: bool
) -> None:
    place = tmp_path / "theirs"
    if broken:
        place.write_text("contexts: 3")
    code, _, err = call(capsys, *words, f"--kubeconfig={place}")
    assert code == 2
    said = " ".join(err.split())
    assert ("is no kubeconfig: it has no field" if broken else "cannot be read: No such file or directory") in said


def test_what_may_not_be_read_is_no_bug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    code, _, err = call(capsys, "replay", "theirs")
    assert code == 3
    assert "theirs cannot be" in err
    assert "bug" not in err


def test_a_run_outlives_its_terminal_where_the_user_wants_that() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        end_like_ctrl_c()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_dry_run_says_what_would_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "run", "--dry-run", "--cluster", "embedded", "--only", "WT-01,C1", "--skip", "C1")
    assert code == 0
    assert "WT-01" in out
    assert "C1" not in out


def test_list_says_what_would_be_judged(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "run", "--list", "--cluster", "embedded", "--only", "WT-01,C1", "-o", "json")
    assert code == 0
    assert [row["id"] for row in json.loads(out)] == ["WT-01", "C1"]
    code, out, _ = call(capsys, "conformance", "--list", "--profile", "weights")
    assert code == 0
    assert "WT-01" in out
    assert "C1" not in out


@pytest.mark.parametrize("command", ["run", "conformance"])
def test_list_refuses_a_setting_that_the_mesh_does_not_take(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, err = call(capsys, command, "--list", "--mesh", "istio", "--set", "nonsense=1")
    assert (code, out) == (2, "")
    assert "nonsense" in err


def test_conformance_installs_nothing_and_excuses_what_is_exempt(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--dry-run", "--only", "WT-01,WT-02", "--exempt", "WT-02", "--context", "c")
    code, out, _ = call(capsys, "conformance", *flags)
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["cluster"] == "use the existing cluster, context c"
    assert lines["mesh"] == "expect refmesh to be installed"
    assert lines["conformance"].endswith("; unsupported by declaration: WT-02")
    assert lines["chaos"] == lines["latency"] == "nothing"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--features", "wieghts"), "no feature called 'wieghts'"),
        (("--exempt", "CB-99"), "no feature, check or group called 'CB-99'"),
        (("--rerun-failed", "/no/such"), "neither a results.json nor a bundle"),
        (("--profile", "fast"), "no profile called 'fast'"),
        (("--only", "XX"), "XX"),
        (("--seed", "x"), "--seed"),
        (("--alpha", "0"), "--alpha 0 is no error rate"),
        (("--alpha", "0.1"), "--alpha 0.1 is no error rate"),
    ],
)
@pytest.mark.parametrize("command", ["run", "conformance"])
def test_each_wrong_word_of_the_selection(
    capsys: pytest.CaptureFixture[str], command: str, flags: tuple[str, ...], said: str
) -> None:
    code, _, err = call(capsys, command, "--dry-run", *flags)
    assert code == 2
    assert said in err


def test_an_earlier_report_is_not_replaced_by_the_run_that_takes_its_failures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failed = Result("WT-01", "two", "check", "WT", "core", Verdict.FAIL, "r")
    write_json(Run("refmesh", "1", "c", {}, 0, 1, (), (failed,), {}, "0"), tmp_path)
    for earlier in (tmp_path, tmp_path / "results.json"):
        code, _, err = call(capsys, "run", "--dry-run", "--rerun-failed", str(earlier), "--report-dir", str(tmp_path))
        assert code == 2
        assert "would replace" in err
    assert call(capsys, "run", "--dry-run", "--rerun-failed", str(tmp_path))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "--mesh", "refmsh"), "refmesh"),
        (("run", "--only", "WT-99"), "WT-99"),
        (("run", "--cluster", "minikube"), "minikube"),
        (("run", "--kubeconfig", "/nowhere/config"), "/nowhere/config"),
        (("report", "/nowhere/results.json"), "/nowhere/results.json"),
        (("report", "/nowhere/results.json", "-f", "pdf"), "pdf"),
    ],
)
def test_wrong_calls_are_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], named: str) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert named in err
    assert "Traceback" not in out + err
    assert sum(line.startswith("error:") for line in err.splitlines()) == 1


def test_broken_kubeconfig_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "config"
    broken.write_text("contexts: [}")
    code, _, err = call(capsys, "run", "--kubeconfig", str(broken), "--report-dir", str(tmp_path / "report"))
    assert code == 2
    assert "not YAML" in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageProblem("wrong [flag]", fix="right it"), 2, "error: wrong [flag]\n  fix: right it"),
        (EnvironmentProblem("no root"), 3, "error: no root"),
        (KeyboardInterrupt(), 130, ""),
        (ValueError("odd\nsecond line"), 70, "this is a bug in meshproof: ValueError: odd"),
    ],
)
def test_errors_become_exit_codes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    got, out, err = call(capsys)
    assert got == code
    assert said in err
    assert "Traceback" not in out + err
    kept = list(tmp_path.glob("meshproof-traceback-*"))
    assert len(kept) == (code == 70)
    if kept:
        assert "ValueError: odd" in kept[0].read_text()
        assert str(kept[0]) in err


def test_report_is_written_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from reports.model import Result, Run, Verdict

    found = (Result("WT-01", "two", "check", "WT", "core", Verdict.PASS, ""),)
    write_json(Run("refmesh", "1", "embedded", {}, 0.0, 1.0, (), found, {}, "0.1.0"), tmp_path)
    code, out, _ = call(capsys, "report", str(tmp_path / "results.json"), "-f", "junit", "-f", "html", "-f", "table")
    assert code == 0
    assert (tmp_path / "junit.xml").is_file()
    assert (tmp_path / "report.html").is_file()
    assert "refmesh: conformant" in out


def test_a_reason_of_many_lines_is_one_line_of_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = Result("WT-01", "two", "check", "WT", "core", Verdict.PASS, "")
    bad = replace(good, verdict=Verdict.FAIL, reason="2 errors:\n\t* weight = 0\n```\n##[group]x\n\n")
    for name, found, kernel in (("A", good, "6"), ("B", bad, "7\n::error::forged")):
        write_json(
            Run("refmesh", "1", "embedded", {"kernel": kernel}, 0.0, 1.0, (), (found,), {}, "0"), tmp_path / name
        )
    code, out, _ = call(capsys, "compare", str(tmp_path / "A"), str(tmp_path / "B"))
    assert code == 1
    assert out.splitlines()[1].endswith("2 errors: * weight = 0 ``` # #[group]x")
    assert out.splitlines()[-1] == "The runs differ in kernel: 6 → 7 ::error::forged"


def test_a_report_for_github_is_shown_by_its_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step"))
    found = (Result("WT-01", "two", "check", "WT", "core", Verdict.FAIL, "no"),)
    write_json(Run("refmesh", "1", "embedded", {}, 0.0, 1.0, (), found, {}, "0.1.0"), tmp_path)
    assert call(capsys, "report", str(tmp_path), "-f", "html")[1] == f"{tmp_path / 'report.html'}\n"
    code, out, _ = call(capsys, "report", str(tmp_path), "-f", "github")
    assert code == 0
    assert "::error title=WT-01 two%3A fail::no" in out
    assert (tmp_path / "step").read_text() == (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--profile", "nonsense"), "there is no profile called 'nonsense': "),
        (("--kubeconfig", "/none,0%"), "the kubeconfig /none,0%25 cannot be read: No such file or directory: give"),
    ],
)
def test_what_keeps_a_run_from_beginning_is_told_to_github(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], said: str
) -> None:
    assert "::error" not in call(capsys, "conformance", *flags)[2]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, _, err = call(capsys, "conformance", *flags)
    assert code == 2
    assert [one for one in err.splitlines() if one.startswith(f"::error title=Nothing was judged::{said}")]


def test_refmesh_gets_its_arguments_untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = SimpleNamespace(command=[], environment={})

    def execve(_path: str, command: list[str], environment: dict[str, str]) -> None:
        seen.command, seen.environment = command, environment

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("REFMESH_GATEWAY_API_CRDS", str(tmp_path))
    with pytest.raises(SystemExit):
        main.main(["refmesh", "install", "--help", "--set", "a=b", "-o", "json"])
    assert seen.command == module_command("refmesh", "install", "--help", "--set", "a=b", "-o", "json")
    assert seen.environment["REFMESH_GATEWAY_API_CRDS"] == str(tmp_path)
    assert seen.environment["REFMESH_PROGRAM"] == "meshproof refmesh"


@pytest.mark.parametrize(("started_as", "usage"), [("", "refmesh"), ("meshproof refmesh", "meshproof refmesh")])
def test_refmesh_calls_itself_what_the_user_did(started_as: str, usage: str) -> None:
    """Completion of `python -m refmesh` would take python's own away."""
    done = subprocess.run(
        module_command("refmesh", "--help"), capture_output=True, text=True, check=True,
        env=module_environment([("REFMESH_PROGRAM", started_as), ("COLUMNS", "100")]),
    )  # fmt: skip
    assert f"Usage: {usage} [OPTIONS]" in done.stdout
    assert ("--install-completion" in done.stdout) == (usage == "refmesh")


def test_only_the_whole_program_offers_to_install_its_completion() -> None:
    """A part of it would write a script for a program that there is not."""
    for one in lazy.LAZY.values():
        command = typer.main.get_command(import_module(one.module).app)
        assert "install_completion" not in {parameter.name for parameter in command.params}, one.module


def test_stages_keep_what_went_wrong() -> None:
    stages = Stages()
    with stages.stage("cluster") as shown:
        shown.update("ready")
    with pytest.raises(UsageProblem), stages.stage("mesh"):
        raise UsageProblem("no such mesh")
    assert [(one.name, one.detail, one.problem) for one in stages.done] == [
        ("cluster", "ready", ""),
        ("mesh", "", "no such mesh"),
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("[gw0] [  5%] PASSED test_mesh.py::test_mesh[INJ-01]@inj ", "INJ-01"),
        ("[gw3] [ 10%] FAILED test_mesh.py::test_mesh[MTLS-02] ", "MTLS-02"),
        ("test_mesh.py::test_mesh[CB-05] SKIPPED (why)          [ 40%]", "CB-05"),
        ("test_mesh.py::test_mesh[INJ-01] ", None),
        ("FAILED to load", None),
    ],
)
def test_progress_is_read_from_pytest(line: str, found: str | None) -> None:
    match = OUTCOME.search(line)
    assert (match and (match[2] or match[3])) == found


def test_a_tethered_child_ends_with_its_parent(tmp_path: Path) -> None:
    # Python looks for signals before and after a sleep: one that comes in between is only seen when the sleep is over.
    (tmp_path / "sleeper.py").write_text(
        "import pathlib, time, os\npathlib.Path('pid').write_text(str(os.getpid()))\n"
        "for _ in range(600):\n    time.sleep(0.1)\n"
    )
    parent = (
        "import subprocess, sys, time, pathlib, os\n"
        "from meshproof_cli.processes import child_command, module_environment\n"
        "environment = module_environment()\n"
        "environment['PYTHONPATH'] += os.pathsep + os.getcwd()\n"
        "subprocess.Popen(child_command('sleeper'), env=environment)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, env=module_environment()) as process:
        child = eventually(lambda: int((tmp_path / "pid").read_text()), timeout=30, what="the child runs")
        process.kill()

    def ended() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    eventually(ended, timeout=30, what="the child has ended")


@pytest.mark.parametrize("arguments", [("list", "checks", "-o", "json"), ("report", "results.json", "-f", "table")])
def test_output_that_cannot_be_written_is_no_bug(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    one = Result("WT-01", "t", "check", "WT", "core", Verdict.PASS, "fine")
    write_json(Run("refmesh", "1", "c", {}, 0, 1, (), (one,), {}, "0"), tmp_path)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            module_command("meshproof_cli", *arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            cwd=tmp_path, env=module_environment(),
        )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


def test_a_report_replaces_nothing_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = Result("WT-01", "t", "check", "WT", "core", Verdict.PASS, "fine")
    source = str(write_json(Run("refmesh", "1", "c", {}, 0, 1, (), (one,), {}, "0"), tmp_path))
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "report.html").write_text("precious")
    for place in (foreign, foreign / "report.html"):
        code, _, err = call(capsys, "report", source, "-d", str(place))
        assert code == 2
        assert "--directory" in err
        assert "--report-dir" not in err
    assert (foreign / "report.html").read_text() == "precious"
    for _ in range(2):
        assert call(capsys, "report", source, "-d", str(tmp_path / "new"))[0] == 0
    assert call(capsys, "report", source, "-d", str(tmp_path))[0] == 0


@pytest.mark.parametrize("form", ["json", "html"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_report_does_not_become_that_of_another_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, damaged: bool
) -> None:
    one = Result("WT-01", "t", "check", "WT", "core", Verdict.PASS, "fine")
    old = Run("refmesh", "1", "c", {}, 0, 1, (), (one,), {}, "0")
    earlier = write_json(old, tmp_path).rename(tmp_path / "earlier.json")
    newer = write_json(replace(old, seconds=2), tmp_path)
    if damaged:
        newer.write_text("{")
    told = newer.read_text()
    for given in ((), ("-d", str(tmp_path))):
        code, _, err = call(capsys, "report", str(earlier), "-f", form, *given)
        assert code == 2
        assert "holds the report of another run" in err
        assert "--directory" in err
    assert newer.read_text() == told
    assert {path.name for path in tmp_path.iterdir()} == {"earlier.json", "results.json"}
    assert call(capsys, "report", str(earlier), "-f", "table")[0] == 0
    assert call(capsys, "report", str(earlier), "-f", "json", "-d", str(tmp_path / "new"))[0] == 0


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("run --mesh ref", {"refmesh"}),
        ("run --only wt-01,C", {"wt-01,CB", "wt-01,CB-01", "wt-01,C1", "wt-01,Chaos"}),
        ("conformance --only INJ-0", {f"INJ-0{number}" for number in range(1, 10)}),
        ("conformance --profile he", {"headline"}),
        ("conformance --features grpc", {"grpc mtls", "grpc routing"}),
        ("conformance --exempt webs", {"websocket"}),
        ("report x --format j", {"json", "junit"}),
        ("refmesh inst", {"install"}),
        ("refmesh proxy-config ", {"cluster", "listener"}),
        ("refmesh install --prof", {"--profile"}),
    ],
)
def test_a_shell_is_offered_values(typed: str, offered: set[str]) -> None:
    words = {"_MESHPROOF_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        module_command("meshproof_cli"), capture_output=True, text=True, check=False,
        env=module_environment([*words.items(), ("_TYPER_COMPLETE_ARGS", f"meshproof {typed}")]),
    )  # fmt: skip
    assert offered <= set(done.stdout.splitlines()), done.stdout + done.stderr
    _, _, last = typed.rpartition(" ")
    assert all(line.startswith(last) for line in done.stdout.splitlines())
