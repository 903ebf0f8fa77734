"""A pytest within the one that runs the tests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NO_ASYNCIO = ("-p", "no:asyncio")  # it warns of a setting that only our own tests have
INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))


@dataclass(frozen=True)
class Done:
    """What a pytest came to."""

    returncode: int
    stdout: str
    stderr: str


class Runs:
    """Runs pytest in this process: ten times as fast as one of its own."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capfd = capfd
        self._monkeypatch = monkeypatch

    def __call__(
        self,
        *flags: str,
        where: Path | None = None,
        target: tuple[str, ...] = ("--pyargs", "conformance"),
        plugins: tuple[object, ...] = (),
    ) -> Done:
        if where is not None:
            self._monkeypatch.chdir(where)
        # Of the flags around us: this pytest shall see none of them.
        self._monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        plugin = () if INSTALLED else ("-p", "conformance.plugin")
        self._capfd.readouterr()
        quiet = ("-q", "-c", os.devnull, "--rootdir", str(ROOT), "-p", "no:cacheprovider", *NO_ASYNCIO)
        code = pytest.main([*quiet, *plugin, *target, *flags], plugins)
        out, err = self._capfd.readouterr()
        return Done(int(code), out, err)


class Worker:
    """A plugin by which a pytest believes that it is a worker of xdist's."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        vars(config)["workerinput"] = {"workerid": "gw0"}
