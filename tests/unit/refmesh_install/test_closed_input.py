"""Commands of refmesh whose standard input somebody has closed, as schedulers do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [("inject", "-f", "-"), ("validate", "-f", "-")])
def test_a_closed_standard_input_is_told_in_one_line(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "refmesh", *words],
        check=False, capture_output=True, text=True, timeout=60, preexec_fn=lambda: os.close(0),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "The standard input is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_is_asked_where_the_standard_input_is_closed() -> None:
    program = "from refmesh.terminal import has_terminal; print(has_terminal())"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, preexec_fn=lambda: os.close(0)
    )
    assert done.stdout == "False\n"
