"""Settings of all tests."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A slow moment of the machine is no finding about the code: examples have no time limit.
settings.register_profile("meshproof", deadline=None)
# For the nights: what is found is printed and kept in .hypothesis, where the next ordinary run meets it first.
settings.register_profile("fuzz", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("meshproof")

# In a GitHub job, rich and typer would write escape codes into what tests read, and runs into the summary of the job.
for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PY_COLORS", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)

# As where the environment is active: what is printed to be pasted has its programs by their names.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

FUZZ_ROUNDS, FUZZ_SECONDS = 30, 15.0
"""How often a property is tried anew by the profile `fuzz`, and after how long no round begins any more.

Rounds and not one large number of examples: that costs 2 s for one property and 10 min for another, most of all where
there are few values, of which Hypothesis then looks for those that are left.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--hypothesis-profile") != "fuzz":
        return
    for item in items:
        if isinstance(item, pytest.Function) and getattr(item.obj, "is_hypothesis_test", False):
            item.obj = often(item.obj, FUZZ_ROUNDS, FUZZ_SECONDS)


def often(test: Callable[..., None], rounds: int, seconds: float) -> Callable[..., None]:
    """The same property, tried round after round; the first that fails is the last."""

    @functools.wraps(test)
    def repeated(*given: Any, **fixtures: Any) -> None:
        end = time.monotonic() + seconds
        for _ in range(rounds):
            test(*given, **fixtures)
            if time.monotonic() >= end:
                return

    return repeated
