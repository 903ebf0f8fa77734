"""LC-06: its judge on histories made by hand, and the command that it runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.checks.injection import Behaviour
from conformance.checks.uninstalling_judges import Uninstalled, judge_uninstalled
from conformance.farewell import Ended, Farewell
from conformance.histories import decode, encode
from reports.model import Verdict

BEFORE = Behaviour("in/server-1", ("proxy",), "10.0.0.9", ("10.0.0.5",) * 5, tls_answered=True)
AFTER = Behaviour("in/server-2", (), "10.0.0.9", ("10.0.0.9",) * 5, tls_answered=False)
GONE = Uninstalled(BEFORE, ("MutatingWebhookConfiguration m",), ("mesh/label",), Ended(0, "gone"), (), AFTER, ())


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"before": AFTER}, Verdict.FAIL),  # there was no mesh
        ({"before": replace(BEFORE, peers=())}, Verdict.INCONCLUSIVE),
        ({"ended": Ended(1, "no")}, Verdict.FAIL),
        ({"left": ("ClusterRoleBinding m",)}, Verdict.FAIL),
        ({"after": None}, Verdict.FAIL),
        ({"after": replace(AFTER, added=("proxy",))}, Verdict.FAIL),
        ({"after": replace(AFTER, tls_answered=True)}, Verdict.FAIL),
        ({"after": replace(AFTER, peers=("127.0.0.6",))}, Verdict.FAIL),
        ({"after": replace(AFTER, peers=())}, Verdict.FAIL),
        ({"marks_after": ("mesh/label",)}, Verdict.FAIL),
    ],
)
def test_what_is_left_of_a_mesh(change: dict[str, object], verdict: Verdict):
    history = replace(GONE, **change)  # type: ignore[arg-type]
    assert judge_uninstalled(history).verdict is verdict
    assert decode(encode(history)) == history


def test_the_command_finds_the_kubeconfig_of_the_run(tmp_path: Path):
    script = tmp_path / "uninstall.py"
    script.write_text("import os, sys; print(os.environ['KUBECONFIG'], *sys.argv[1:]); sys.exit(3)")
    ended = Farewell(f"{sys.executable} {script} --purge 'a b'", tmp_path / "config").say()
    assert ended == Ended(3, f"{tmp_path / 'config'} --purge a b")


@pytest.mark.parametrize("command", ["/no/such/program -y", "refmesh 'uninstall"])
def test_a_command_that_cannot_be_run_says_so(command: str):
    ended = Farewell(command).say()
    assert ended.code
    assert ended.said
