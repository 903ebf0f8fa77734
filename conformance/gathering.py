"""Where results come together: xdist's controller, or the only process. Light: every pytest loads the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conformance.model import Check
    from conformance.session import Session

__all__ = ["REPORT", "Gatherer"]

REPORT = "meshproof"
"""Attribute of a test report that carries a result from a worker to the controller."""


def _checks_in(nodeid: str) -> tuple[Check, ...]:
    from conformance.scheduling import checks_in

    return checks_in([nodeid])


def _said(report: pytest.TestReport) -> str:
    """Why an item failed or was skipped, in a line."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash is not None else report.longreprtext).strip().splitlines()
    return lines[0] if lines else report.outcome


class Gatherer:
    """Registered as a plugin of its own; see the module."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One check is done."""
        found = getattr(report, REPORT, None)
        if found is not None:
            self.session.tally.gather(found)
        elif not report.passed and report.when in ("setup", "call"):
            said = _said(report)
            for check in _checks_in(report.nodeid):
                self.session.tally.lose(check.id, f"pytest ended its {report.when} before it had a verdict: {said}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """xdist: a worker died."""
        for check in _checks_in(crashitem):
            self.session.tally.lose_worker(check.id)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """What was judged until now is written, and says that there was an end; xdist ends so after `-x` as well."""
        self.session.tally.ended = str(excinfo.value) or "interrupted"
        self.session.begin_to_end()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """The table of verdicts, and why the exit code is not 0 where no test tells."""
        ours = self.session
        if not ours.tally:
            return
        from conformance.summary import summary
        from reports.words import line

        for text in summary(ours.run(), ours.results_file):
            terminalreporter.write_line(text)
        if ours.problem:
            terminalreporter.write_line(f"ERROR: {ours.problem}")
        elif exitstatus == pytest.ExitCode.OK and (left := ours.left_open):
            terminalreporter.write_line(line(f"ERROR: not proven, hence pytest's exit code 1: {left}"))
