"""What pytest's own exit code says of a run: never more than the report."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from conformance import session
from conformance.model import Judgement, failed, passed
from reports.errors import EnvironmentProblem, ExitCode
from reports.model import Verdict
from tests.unit.conformance.empty_cluster import Keeper, Kube
from tests.unit.conformance.judged import ABC, Judged

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED
SAID = "ERROR: not proven, hence pytest's exit code 1: "


def test_what_was_asked_for_of_the_core_and_not_run_is_no_success(suite: Judged) -> None:
    unmet = Judgement(Verdict.NOT_RUN, "requires INJ-01 (Pods are injected), whose verdict is fail: no")
    suite.bodies = {"WT-01": lambda: unmet, "WT-03": lambda: unmet}
    done = suite()
    assert done.returncode == FAILED
    assert suite.written.exit_code is ExitCode.NOT_PROVEN
    assert f"{SAID}WT-01 (not-run: {unmet.reason}), and 1 more of the core\n" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout


def test_what_could_not_be_swept_is_no_success(suite: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise EnvironmentProblem("nobody answers")

    monkeypatch.setattr(session, "sweep", refuse)
    done = suite()
    assert done.returncode == FAILED
    assert f"{SAID}clean-up: the namespaces of the run" in done.stdout


def test_what_the_mesh_has_no_words_for_or_nobody_asked_for_is_no_failure(suite: Judged) -> None:
    suite.bodies = dict.fromkeys(ABC, lambda: Judgement(Verdict.UNSUPPORTED, "no weights"))
    done = suite()
    assert done.returncode == OK
    assert SAID not in done.stdout
    suite.bodies = {"WT-01": lambda: passed("fine")}
    assert suite("--exempt", "WT-02", only=("WT-01", "WT-02", "LC-03")).returncode == OK


def test_a_meshs_own_words_steer_neither_a_terminal_nor_githubs_runner(suite: Judged) -> None:
    suite.bodies = {
        "WT-01": lambda: failed(
            "::add-mask::e\n2 errors:\n\t* weight = 0\n::error::forged\n##[group]x \x1b]0;title\x07"
        ),
        "WT-02": lambda: Judgement(Verdict.INCONCLUSIVE, "a\n::error::forged"),
        "WT-03": lambda: Judgement(Verdict.NOT_RUN, "b\n::error::forged"),
    }
    done = suite("-rs")
    assert ": :add-mask::e 2 errors: * weight = 0 ::error::forged # #[group]x" in done.stdout
    assert not [one for one in done.stdout.splitlines() if one.strip().startswith("::") or "##[" in one]
    assert "\x1b]" not in done.stdout


class Shard:
    """A plugin that leaves out what another job collects, by no flag that anybody knows."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        del items[1:]


def test_a_part_does_not_look_like_the_whole_whoever_chose_it(suite: Judged) -> None:
    suite(plugins=(Shard(),))
    assert suite.written.options["collected"] == "1 of 3 checks"
    suite("--only", "WT-01,WT-02")
    assert "collected" not in suite.written.options


@pytest.mark.parametrize("flags", [("-W", "error"), ("-o", "filterwarnings=error"), ("-W", "default")])
def test_a_server_that_the_kubeconfig_exempts_from_verification_is_no_error_and_no_warning(
    suite: Judged, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    asked: list[str] = []

    def ask(what: str, answer: object = None) -> Any:
        warnings.warn("Unverified HTTPS request is being made to host 'x'.", InsecureRequestWarning, stacklevel=1)
        asked.append(what)
        return answer

    cluster = Kube.connect()
    monkeypatch.setattr(session, "Kube", SimpleNamespace(connect=lambda *_: ask("at the start", cluster)))
    monkeypatch.setattr(session, "Keeper", lambda *_, **__: Keeper(close=lambda: ask("at the end")))
    monkeypatch.setattr(session, "pull_secrets", lambda *_: ask("after collection", ()))
    suite.bodies["WT-01"] = lambda: ask("of an item", passed("fine"))
    done = suite(*flags, only=("WT-01",))
    assert done.returncode == OK, done.stdout + done.stderr
    assert asked == ["at the start", "after collection", "of an item", "at the end"]
    assert "InsecureRequestWarning" not in done.stdout + done.stderr
