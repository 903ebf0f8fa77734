"""The flags of the suite, read: which checks, which mesh, and a session of them."""

from __future__ import annotations

import os
import secrets
import shlex
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters import Adapter, load
from conformance.farewell import Farewell
from conformance.limits import limit
from conformance.planes import is_mesh
from conformance.runner import Options
from conformance.selection import Selection, Wish, chosen, expect_error_rate, fitting, spared
from conformance.session import Session
from conformance.settings import RunSettings, read_settings
from conformance.usage import as_usage
from fixtures.kube.runner import runner_name
from reports.commands import program
from reports.earlier import put_aside
from reports.errors import EnvironmentProblem, UsageProblem
from reports.failures import failed_ids
from reports.files import mark_directory, one_sentence
from reports.model import JSON

__all__ = ["again", "loaded", "open_session", "selection", "take_directory"]

CHOSEN = pytest.StashKey[Selection]()
AGAIN = pytest.StashKey[tuple[str, ...] | None]()
JUDGED = pytest.StashKey[tuple[RunSettings, Adapter]]()


def selection(config: pytest.Config) -> Selection:
    """The checks that the flags ask for; a wrong word is a usage error."""
    if CHOSEN not in config.stash:
        with as_usage():
            wish = Wish(
                only=config.getoption("mesh_only"),
                skip=config.getoption("mesh_skip"),
                profile=config.getoption("mesh_profile"),
                features=config.getoption("mesh_features"),
                exempt=config.getoption("mesh_exempt"),
                again=again(config),
                seed=config.getoption("mesh_seed"),
            )
            expect_error_rate(config.getoption("mesh_alpha"))
            settings, adapter = _judged(config)
            mesh = is_mesh(adapter)
            allowed = spared(
                chosen(wish), settings.uninstall, mesh=mesh, disruptive=config.getoption("mesh_disruptive")
            )
            config.stash[CHOSEN] = fitting(allowed, adapter)
    return config.stash[CHOSEN]


def loaded(config: pytest.Config) -> Adapter:
    """The adapter of the mesh that the flags name."""
    with as_usage():
        return _judged(config)[1]


def _judged(config: pytest.Config) -> tuple[RunSettings, Adapter]:
    """The settings of the run, read once, and the adapter that they speak to."""
    if JUDGED not in config.stash:
        settings = read_settings(_settings_file(config), config.getoption("mesh_set"))
        config.stash[JUDGED] = settings, load(config.getoption("mesh_name"), settings.mesh)
    return config.stash[JUDGED]


def open_session(config: pytest.Config) -> Session:
    """Read the flags. `pytest.UsageError` for a wrong one."""
    handed = _handed(config)
    with as_usage():
        settings, adapter = _judged(config)
        picked = selection(config)
        directory = config.invocation_params.dir / config.getoption("mesh_report_dir")
        before = None if handed else take_directory(directory)
        limit(settings.limits)
        options = Options(
            mesh=adapter.name,
            run=handed.get("run") or secrets.token_hex(3),
            image=config.getoption("mesh_image") or settings.image or handed.get("image", ""),
            report_dir=directory,
            alpha=config.getoption("mesh_alpha"),
            ignore_requires=config.getoption("mesh_ignore_requires"),
            excused=picked.excused,
            spared=picked.spared,
            reproduce=_reproduce(config),
            settings=settings,
            farewell=_farewell(config, settings) if settings.uninstall else None,
        )
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    # As xdist itself tells; by now it has made both of what -n says.
    distributed = getattr(config.option, "dist", "no") != "no" and bool(getattr(config.option, "tx", None))
    return Session(
        adapter,
        options,
        kubeconfig=config.getoption("mesh_kubeconfig"),
        context=config.getoption("mesh_context"),
        worker=worker,
        distributed=distributed,
        runner=handed.get("runner") or runner_name(),
        wait=not config.getoption("mesh_no_wait"),
        picked=_as_options(config),
        offered=len(picked.checks),
        before=before,
        tell=lambda line: _tell(config, line),
    )


def _tell(config: pytest.Config, line: str) -> None:
    """A line of progress, past what pytest captures; the outcome of an item under way is still told with its name."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # as in a worker of xdist's
        terminal.write_line(line)


def _farewell(config: pytest.Config, settings: RunSettings) -> Farewell:
    """What takes the mesh off the cluster that is judged."""
    return Farewell(
        settings.uninstall,
        config.getoption("mesh_kubeconfig"),
        context=config.getoption("mesh_context") or "",
        directory=config.invocation_params.dir / settings.uninstall_in,
    )


def _settings_file(config: pytest.Config) -> Path | None:
    file: Path | None = config.getoption("mesh_config")
    return None if file is None else config.invocation_params.dir / file


def take_directory(path: Path) -> Path | None:
    """Make sure of the report directory before anything is judged; where an earlier report of its is kept, if one is.

    What this run finds out is not to be mixed up with what another did, should it find out nothing. What else is in the
    directory is left alone.
    """
    if path.exists() and not path.is_dir():
        raise UsageProblem(f"the report directory {path} is a file", fix="name a directory with --report-dir")
    with one_sentence(path):
        path.mkdir(parents=True, exist_ok=True)
        if not any(path.iterdir()):
            mark_directory(path)
    if not os.access(path, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"the report directory {path} is not writable", fix="name another with --report-dir")
    return put_aside(path)


def again(config: pytest.Config) -> tuple[str, ...] | None:
    """Ids of what an earlier run did not show to be right, where `--rerun-failed` asks for that.

    A worker is told: by then, the earlier report may have been put aside.
    """
    if AGAIN not in config.stash:
        handed, earlier = _handed(config), config.getoption("mesh_rerun_failed")
        if handed:
            config.stash[AGAIN] = handed["again"]
        else:
            config.stash[AGAIN] = failed_ids(config.invocation_params.dir / earlier) if earlier else None
    return config.stash[AGAIN]


def _handed(config: pytest.Config) -> dict[str, Any]:
    """What xdist's controller told this worker; nothing where this is none."""
    handed: dict[str, Any] = getattr(config, "workerinput", {}).get("meshproof", {})
    return handed


def _as_options(config: pytest.Config) -> dict[str, JSON]:
    """The flags of the selection that were given, for the report."""
    names = ("only", "skip", "profile", "features", "exempt", "seed")
    given: dict[str, JSON] = {name: config.getoption(f"mesh_{name}") for name in names}
    given["rerun_failed"] = str(config.getoption("mesh_rerun_failed") or "")
    # pytest's own ways to choose; how many are left of all, the session knows.
    given["keyword"], given["marks"] = config.getoption("keyword"), config.getoption("markexpr")
    given["deselect"] = list(config.getoption("deselect", None) or ()) or None
    given["last_failed"] = bool(config.getoption("lf", False)) or None
    given["disruptive"] = config.getoption("mesh_disruptive") or None
    return {name: value for name, value in given.items() if value not in ("", None)}


def _reproduce(config: pytest.Config) -> str:
    words = [program("pytest"), "--pyargs", "conformance", "--mesh-name", config.getoption("mesh_name")]
    for name in ("kubeconfig", "context", "image"):
        value = config.getoption(f"mesh_{name}")
        if value:
            words += [f"--mesh-{name}", str(value)]
    if (file := _settings_file(config)) is not None:
        words += ["--mesh-config", str(file)]
    for name in ("features", "exempt"):  # what they excuse is excused the next time too
        if value := config.getoption(f"mesh_{name}"):
            words += [f"--mesh-{name}", value]
    if (alpha := config.getoption("mesh_alpha")) != Options.alpha:
        words += ["--mesh-alpha", f"{alpha:g}"]
    if config.getoption("mesh_disruptive"):
        words.append("--mesh-disruptive")
    for assignment in config.getoption("mesh_set"):
        words += ["--mesh-set", assignment]
    return f"{shlex.join(words)} --mesh-report-dir meshproof-report-{{id}} --mesh-only {{id}}"
