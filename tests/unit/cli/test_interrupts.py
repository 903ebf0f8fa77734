"""Being told to end, with real processes: what was judged is kept, and everything is taken away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fixtures import interrupts
from fixtures.kube import eventually
from meshproof_cli import refmesh_program
from meshproof_cli.processes import module_environment
from reports.errors import MeshproofError

HERE = Path(__file__).parent
RUN = """
import sys
import threading
from pathlib import Path
from meshproof_cli.interrupts import end_like_ctrl_c
from meshproof_cli.suite import Interrupted, Suite, judge
IDS = ("WT-01", "WT-02", "CB-01", "CB-02")
end_like_ctrl_c()
place, workers = Path(sys.argv[1]), int(sys.argv[2])
suite = Suite("none", (), "i", IDS, place / "report", workers, ("-p", "made_up_mesh"), limit=240)
try:
    judge(suite, lambda text: print(text, flush=True))
except Interrupted as error:
    print("interrupted after", *(one.id for one in error.results))
"""


@pytest.mark.parametrize(
    ("workers", "number", "whole_group"),
    [(1, signal.SIGTERM, False), (2, signal.SIGINT, True)],
)
def test_an_interrupted_suite_keeps_its_verdicts_and_sweeps(
    tmp_path: Path, workers: int, number: int, whole_group: bool
) -> None:
    environment = {**module_environment(), "MADE_UP": str(tmp_path), "PYTEST_ADDOPTS": "--of-the-users-own-pytest"}
    environment["FORCE_COLOR"] = "1"  # as many CI jobs set it
    environment["PYTHONPATH"] += f"{os.pathsep}{HERE}"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path), str(workers)],
        env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            told: set[str] = set()
            # pytest ends the line of an outcome when it begins the next one: that of CB-02, or of WT-02.
            while not told >= {"CB-01", "WT-01"} and (line := process.stdout.readline()):
                told.add(line.split()[-2])  # … of 4 checks, CB-01 done
            eventually((tmp_path / "judging").exists, timeout=240, what="a check is under way")
            (os.killpg if whole_group else os.kill)(process.pid, number)
            out = process.stdout.read()
            process.wait(240)
        finally:
            process.kill()
    log = (tmp_path / "report" / "pytest.log").read_text()
    kept = set(out.rpartition("interrupted after")[2].split())
    assert {"CB-01", "WT-01"} <= kept <= {"CB-01", "CB-02", "WT-01"}, log
    assert (tmp_path / "taken-back").exists(), log
    assert (tmp_path / "swept").exists(), log


def test_only_the_third_signal_cuts_the_clean_up_short(
    capfd: pytest.CaptureFixture[str],
) -> None:
    put_back = interrupts.end_like_ctrl_c()
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # GitHub's second
        assert "cleaning up" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        interrupts.end_like_ctrl_c()
        interrupts.cleaning_up()
        signal.raise_signal(signal.SIGINT)
        assert "twice more" in capfd.readouterr().err
    finally:
        put_back()


def test_nothing_is_said_to_a_closed_stream(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    put_back = interrupts.end_like_ctrl_c()
    try:
        interrupts.cleaning_up()
        monkeypatch.setattr(sys, "stderr", None)
        signal.raise_signal(signal.SIGINT)
        assert capfd.readouterr().err == ""
    finally:
        put_back()


def test_a_quiet_process_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    put_back = interrupts.end_like_ctrl_c(quiet=True)
    try:
        interrupts.cleaning_up()
        signal.raise_signal(signal.SIGINT)
        assert capfd.readouterr().err == ""
    finally:
        put_back()


def test_what_is_put_back_is_also_whether_there_is_clean_up() -> None:
    outer = interrupts.end_like_ctrl_c()
    try:
        interrupts.end_like_ctrl_c()()
        interrupts.cleaning_up()
        signal.raise_signal(signal.SIGINT)
    finally:
        outer()


def test_refmesh_has_ended_when_an_interrupt_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = (
        "import pathlib, signal, sys, time, os\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print(os.getpid(), file=sys.stderr, flush=True)\n"
        "time.sleep(120)\n"
    )
    pids: list[int] = []

    def interrupted(text: str) -> None:
        pids.append(int(text))
        raise KeyboardInterrupt

    monkeypatch.setattr(refmesh_program, "child_command", lambda *_: [sys.executable, "-c", stubborn])
    monkeypatch.setattr(refmesh_program, "_PATIENCE", 0.5)
    with pytest.raises(KeyboardInterrupt):
        refmesh_program.refmesh("install", progress=interrupted)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_refmesh_ends_when_it_is_not_wanted_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()
    idle = "import sys, time; print('begun', file=sys.stderr, flush=True); time.sleep(600)"
    monkeypatch.setattr(refmesh_program, "child_command", lambda *_: [sys.executable, "-c", idle])
    with pytest.raises(MeshproofError):
        refmesh_program.refmesh("install", progress=lambda _: cancel.set(), cancel=cancel)
