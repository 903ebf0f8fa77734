"""The flags of the suite, read: which checks, which mesh, and a session of them."""

from __future__ import annotations

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
from conformance.selection import Selection, Wish, chosen, fitting, spared
from conformance.session import Session
from conformance.settings import RunSettings, read_settings
from conformance.usage import as_usage
from fixtures.kube.runner import runner_name
from reports.failures import failed_ids
from reports.model import JSON

__all__ = ["loaded", "open_session", "selection"]

CHOSEN = pytest.StashKey[Selection]()
JUDGED = pytest.StashKey[tuple[RunSettings, Adapter]]()


def selection(config: pytest.Config) -> Selection:
    """The checks that the flags ask for; a wrong word is a usage error."""
    if CHOSEN not in config.stash:
        with as_usage():
            earlier = config.getoption("mesh_rerun_failed")
            wish = Wish(
                only=config.getoption("mesh_only"),
                skip=config.getoption("mesh_skip"),
                profile=config.getoption("mesh_profile"),
                features=config.getoption("mesh_features"),
                exempt=config.getoption("mesh_exempt"),
                again=failed_ids(config.invocation_params.dir / earlier) if earlier else None,
                seed=config.getoption("mesh_seed"),
            )
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
    handed: dict[str, Any] = getattr(config, "workerinput", {}).get("meshproof", {})
    with as_usage():
        settings, adapter = _judged(config)
        picked = selection(config)
        alpha = config.getoption("mesh_alpha")
        if not 0 < alpha <= 0.05:
            raise pytest.UsageError(f"--alpha {alpha:g} is no error rate: give a number above 0, at most 0.05")
        image = config.getoption("mesh_image") or settings.image or handed.get("image") or _own_image()
        limit(settings.limits)
        options = Options(
            mesh=adapter.name,
            run=handed.get("run") or secrets.token_hex(3),
            image=image,
            report_dir=config.invocation_params.dir / config.getoption("mesh_report_dir"),
            alpha=alpha,
            ignore_requires=config.getoption("mesh_ignore_requires"),
            excused=picked.excused,
            spared=picked.spared,
            reproduce=_reproduce(config),
            settings=settings,
            farewell=Farewell(settings.uninstall, config.getoption("mesh_kubeconfig")) if settings.uninstall else None,
        )
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    distributed = bool(getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None))
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
    )


def _settings_file(config: pytest.Config) -> Path | None:
    file: Path | None = config.getoption("mesh_config")
    return None if file is None else config.invocation_params.dir / file


def _own_image() -> str:
    from fixtures.images import image_reference

    return image_reference()


def _as_options(config: pytest.Config) -> dict[str, JSON]:
    """The flags of the selection that were given, for the report."""
    names = ("only", "skip", "profile", "features", "exempt", "seed")
    given: dict[str, JSON] = {name: config.getoption(f"mesh_{name}") for name in names}
    given["rerun_failed"] = str(config.getoption("mesh_rerun_failed") or "")
    given["disruptive"] = config.getoption("mesh_disruptive") or None
    return {name: value for name, value in given.items() if value not in ("", None)}


def _reproduce(config: pytest.Config) -> str:
    words = ["pytest", "--pyargs", "conformance", "--mesh-name", config.getoption("mesh_name")]
    for name in ("kubeconfig", "context", "image"):
        value = config.getoption(f"mesh_{name}")
        if value:
            words += [f"--mesh-{name}", str(value)]
    if (file := _settings_file(config)) is not None:
        words += ["--mesh-config", str(file)]
    if config.getoption("mesh_disruptive"):
        words.append("--mesh-disruptive")
    for assignment in config.getoption("mesh_set"):
        words += ["--mesh-set", assignment]
    return shlex.join([*words, "--mesh-only"]) + " {id}"
