"""The pytest plugin: `pytest --pyargs conformance --mesh NAME` judges a mesh, one test item a check.

Inert unless `--mesh` is given or conformance tests are collected. Safe under pytest-xdist: checks of one ground
go to one worker; the controller creates the namespaces of all, sweeps them and writes `results.json`.
pass = passed; fail and inconclusive = failed; unsupported and not-run = skipped, with the reason. Where nothing failed,
but something of the core was asked for and is not proven, pytest ends as if a test had failed.

Imports stay light here: this file is loaded by every pytest on a machine that has the product installed.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from conformance.flags import add_flags, add_short_names, asks, uses_short_names, without_values
from conformance.gathering import REPORT, Gatherer
from conformance.items import ITEM, Orderer, check_in, is_ours

if TYPE_CHECKING:
    from conformance.model import Check
    from conformance.session import Session

__all__ = ["meshproof_session"]

SESSION = pytest.StashKey["Session"]()
QUESTIONS = (
    "help", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow", "collectonly", "setupplan",
    "mesh_list", "mesh_dry_run",
)  # fmt: skip
"""Flags, by pytest's names of their values."""
UNVERIFIED = "Unverified HTTPS request"
"""How urllib3's warning begins, as a regular expression."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags of the suite, by the names that nobody else has."""
    add_flags(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """The short names, where the suite is asked for, once everybody else has theirs."""
    asked = asks(args)
    if asked:
        known = early_config.known_args_namespace
        known.file_or_dir = without_values(known.file_or_dir, args)
    yield
    if asked or uses_short_names(args):
        add_short_names(parser)


def _only_shown(config: pytest.Config) -> bool:
    """Whether nothing is judged: pytest is asked what there is, or would be done."""
    return any(config.getoption(name, False) for name in QUESTIONS)


def _asked(config: pytest.Config) -> bool:
    return bool(config.getoption("mesh_name", None))


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the flags before anything starts. `pytest.UsageError` is pytest's exit code 4."""
    if not _asked(config):
        return
    _declare_marks(config)
    from conformance.opening import open_session, selection

    if _only_shown(config):
        selection(config)
        return
    if not _is_worker(config):
        _refuse(config)
    _accept_unverified(config)
    from fixtures.interrupts import end_like_ctrl_c

    ours = open_session(config)
    config.stash[SESSION] = ours
    # A worker that takes its time to leave is told to by execnet, also where nobody pressed anything.
    config.add_cleanup(end_like_ctrl_c(quiet=_is_worker(config)))
    if not _is_worker(config):
        config.pluginmanager.register(Gatherer(ours), "meshproof_gatherer")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """`--list` and `--dry-run` answer without a cluster."""
    listing, dry = config.getoption("mesh_list"), config.getoption("mesh_dry_run")
    if not (listing or dry):
        return None
    if not _asked(config):
        raise pytest.UsageError("--list and --dry-run of the conformance suite need --mesh NAME")
    if config.getoption("keyword") or config.getoption("markexpr"):
        raise pytest.UsageError(
            "--list and --dry-run know nothing of -k and -m: use --only, or pytest's --collect-only"
        )
    from conformance.opening import loaded, selection
    from conformance.preview import listed, planned

    adapter, chosen = loaded(config), selection(config)
    for line in planned(chosen, adapter) if dry else listed(chosen):
        sys.stdout.write(f"{line}\n")
    return 0


def _declare_marks(config: pytest.Config) -> None:
    from conformance.profiles import CAPABILITIES

    marks = [("core", "what a mesh must do"), ("extended", "what a mesh may do"), *CAPABILITIES.values()]
    for name, title in marks:
        config.addinivalue_line("markers", f"{name.replace('-', '_')}: conformance checks of {title}")


def _refuse(config: pytest.Config) -> None:
    """What a check cannot be run by. It runs once: its ground is shared, and two copies would disturb each other."""
    if getattr(config.option, "dist", "no") == "each":
        raise pytest.UsageError("--mesh cannot be distributed by --dist each: leave --dist out")
    repeats = any(map(config.pluginmanager.hasplugin, ("repeat", "pytest_repeat")))
    if repeats and config.getoption("count", 1) > 1:
        raise pytest.UsageError("--mesh judges each check once, and a copy has the same verdict: leave --count out")
    if config.getoption("forked", False):  # the threads that create grounds, and the verdicts, are the parent's
        raise pytest.UsageError("--mesh cannot be judged in forked processes: leave --forked out")
    if config.getoption("setuponly", False):
        raise pytest.UsageError("--setup-only would create namespaces and judge nothing: see --setup-plan or --dry-run")


def _accept_unverified(config: pytest.Config) -> None:
    """No warning of a server that the kubeconfig exempts from verification: its owner knows, and `error` ended the run.

    By the filters of `-W`, which pytest applies after those of its settings, and once here: it does so for collection,
    items and the end, not for the start.
    """
    known = config.known_args_namespace
    known.pythonwarnings = [*(known.pythonwarnings or ()), f"ignore:{UNVERIFIED}"]
    warnings.filterwarnings("ignore", UNVERIFIED)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist: whole grounds go to one worker, whatever `--dist` or a conftest's own scheduler says.

    Not by xdist's own groups: they are written into a private field that newer pytests no longer read.
    """
    if not _asked(config):
        return None
    from conformance.scheduling import ByGround

    return ByGround(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: hand the run's id and its findings to a worker."""
    session = node.config.stash.get(SESSION, None)
    if session is not None:
        from conformance.opening import again

        node.workerinput[REPORT] = {**session.for_workers(), "again": again(node.config)}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Reach the cluster and the mesh, once, before workers are asked for anything."""
    if _asked(session.config):
        # Here, after everybody's pytest_configure: of all that put items in order, this one is to be the last.
        session.config.pluginmanager.register(Orderer(), "meshproof_orderer")
    ours = session.config.stash.get(SESSION, None)
    if ours is not None:
        ours.start()


# -- collection --------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for each selected check."""
    if not is_ours(metafunc.function):
        return
    if not _asked(metafunc.config):
        if _is_worker(metafunc.config):  # to xdist, a usage error in a worker is a crash of it
            raise pytest.Collector.CollectError(_needs_a_mesh())
        metafunc.parametrize(ITEM, [None], ids=["no-mesh"])
        return
    from conformance.opening import selection

    chosen = selection(metafunc.config).checks
    # pytest-timeout: a limit for a project's own tests is none for a check, which has limits of its own.
    limited = any(map(metafunc.config.pluginmanager.hasplugin, ("timeout", "pytest_timeout")))
    unlimited = [pytest.mark.timeout(0)] if limited else []
    # By id: Allure and others know a test again by its parameters, and a check's title may be reworded.
    metafunc.parametrize(ITEM, [pytest.param(one.id, id=one.id, marks=[*_marks(one), *unlimited]) for one in chosen])


def _marks(check: Check) -> list[pytest.MarkDecorator]:
    """For `-m`: the check's level and its capability, as in `-m "core and not mtls"`."""
    from conformance.profiles import CAPABILITIES

    name, _ = CAPABILITIES.get(check.group, (check.group, ""))
    return [getattr(pytest.mark, word.lower().replace("-", "_")) for word in (check.level, name)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a mesh there is nothing to judge: say so in one sentence."""
    if not _asked(config) and any(is_ours(getattr(item, "function", None)) for item in items):
        raise pytest.UsageError(_needs_a_mesh())


def _needs_a_mesh() -> str:
    from conformance.adapters import known

    return f"conformance needs --mesh NAME (known meshes: {', '.join(known())})"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Now it is known which grounds are needed: start to create them all."""
    ours = session.config.stash.get(SESSION, None)
    if ours is not None:
        ours.prepare([check for check in map(check_in, session.items) if check is not None])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """xdist: the controller, which runs no check, creates the grounds. All workers have collected the same."""
    ours = node.config.stash.get(SESSION, None)
    if ours is not None:
        from conformance.scheduling import checks_in

        ours.prepare(checks_in(ids))


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def meshproof_session(pytestconfig: pytest.Config) -> Session:
    """What the checks of this process share."""
    return pytestconfig.stash[SESSION]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the result on the report, which xdist carries to the controller."""
    report = yield
    check = check_in(item)
    if check is not None and report.when == "call":
        found = item.config.stash[SESSION].for_report(check)
        setattr(report, REPORT, found)
        if report.failed and found is not None:
            report.sections.append(("judge this check again", found["result"]["reproduce"]))
    return report


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let a ground go as soon as its last check is done."""
    check, following = check_in(item), check_in(nextitem)
    ours = item.config.stash.get(SESSION, None)  # none where nothing is judged
    if ours is not None and check is not None and (following is None or following.ground != check.ground):
        ours.release(check.ground)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Sweep, and write `results.json`."""
    ours = session.config.stash.get(SESSION, None)
    if ours is not None:
        ended = session.shouldfail or session.shouldstop
        ours.tally.ended = ours.tally.ended or (str(ended) if ended else "")
        ours.finish()
        if ours.problem:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        elif session.exitstatus == pytest.ExitCode.OK and ours.left_open:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing of ours outlives the session, even where it ended in an error before its finish."""
    ours = config.stash.get(SESSION, None)
    if ours is not None and os.getpid() == ours.pid:
        ours.finish()
