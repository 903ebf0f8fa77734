"""Progress lines: plain without a terminal, nested and threaded steps with one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from reports import console
from reports.console import say, step

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    target = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=target, highlight=False, soft_wrap=True))
    return target


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    target = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=target, force_terminal=True, width=100, highlight=False))
    return target


def test_plain_steps_say_begin_and_end(plain: io.StringIO) -> None:
    with step("cluster [x]") as shown:
        shown.update("ready [y]")
    assert plain.getvalue() == "-- cluster [x]\n✓ cluster [x]  ready [y]  0.0 s\n"


def test_failed_step_says_so_and_lets_the_error_through(plain: io.StringIO) -> None:
    with pytest.raises(ValueError, match="odd"), step("mesh"):
        raise ValueError("odd")
    with pytest.raises(KeyboardInterrupt), step("chaos"):
        raise KeyboardInterrupt
    assert "!! mesh failed after 0.0 s" in plain.getvalue()
    assert "!! chaos interrupted after 0.0 s" in plain.getvalue()


def test_progress_is_said_at_most_every_ten_seconds(plain: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("reports.console.time.monotonic", lambda: now[0])
    with step("build") as shown:
        for second in range(25):
            now[0] = 100.0 + second
            shown.update(f"part {second}")
    lines = [line for line in plain.getvalue().splitlines() if "…" in line]
    assert lines == ["   … build: part 10 (10 s)", "   … build: part 20 (20 s)"]


def test_nested_and_threaded_steps_share_one_live_line(terminal: io.StringIO) -> None:
    def work(name: str) -> None:
        with step(name) as shown:
            shown.update("half")

    with step("outer"):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, "abcd"))
        work("inner")
    text = terminal.getvalue()
    assert all(f"{name}  half" in text for name in ("a", "b", "c", "d", "inner"))
    assert console._live == []
    assert console._under_way == []


def test_colours_that_are_asked_for_in_a_log_draw_no_line_anew() -> None:
    """As in many a CI job: there the live line would be said a dozen times a second, for as long as a step takes."""
    program = (
        "from reports.console import step\n"
        "from threading import Event\n"
        "with step('cluster') as shown:\n"
        "    shown.update('ready')\n"
        "    Event().wait(0.5)\n"
    )
    environment = {**os.environ, "FORCE_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    begun, ended = done.stderr.splitlines()
    assert begun == "-- cluster"
    assert "\x1b[32m✓" in ended
    assert "\r" not in done.stderr


def test_say_is_one_line(plain: io.StringIO) -> None:
    say("hello " * 100)
    assert plain.getvalue().count("\n") == 1


def test_brackets_in_what_is_said_are_text(plain: io.StringIO) -> None:
    say("pods of shop [app=echo] in [/run/x] are not ready")
    assert plain.getvalue() == "pods of shop [app=echo] in [/run/x] are not ready\n"
