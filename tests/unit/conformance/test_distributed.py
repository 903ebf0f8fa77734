"""The suite under pytest-xdist: what its controller does, and what is told to the workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from conformance import session
from conformance.adapters import load
from conformance.catalogue import check_of
from conformance.gathering import Gatherer
from conformance.model import Judgement, passed
from conformance.runner import Options
from conformance.session import Session
from fixtures.interrupts import cleaning_up
from tests.unit.conformance.empty_cluster import Keeper, Kube
from tests.unit.conformance.judged import ABC, Judged
from tests.unit.conformance.pytest_runs import Worker


@pytest.mark.parametrize(("distributed", "worker"), [(True, ""), (True, "gw0"), (False, "")])
def test_only_an_interrupted_controller_begins_to_delete_before_xdist_waits_for_the_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, distributed: bool, worker: str
) -> None:
    told: list[str] = []
    monkeypatch.setattr(session, "Kube", Kube)
    monkeypatch.setattr(session, "Keeper", lambda *_, **__: Keeper(close=lambda: told.append("begins no more")))
    monkeypatch.setattr(session, "sweep", lambda *_, **given: told.append(f"deletes, wait={given['wait']}"))
    monkeypatch.setattr(Session, "_give_back", lambda *_: None)
    monkeypatch.setattr(type(load("linkerd")), "problem", lambda *_: "")
    ours = Session(
        load("linkerd"), Options("linkerd", "r", "i", tmp_path), kubeconfig=None, context=None, worker=worker,
        distributed=distributed, runner="me", wait=True, picked={}, offered=1,
    )  # fmt: skip
    ours.start()
    ours.prepare([check_of("WT-01")])
    with pytest.raises(KeyboardInterrupt) as raised:
        raise KeyboardInterrupt
    Gatherer(ours).pytest_keyboard_interrupt(raised)
    begins = distributed and not worker
    assert (tmp_path / "results.json").exists() is begins
    assert told == (["begins no more", "deletes, wait=False"] if begins else [])


def test_places_for_workers_without_a_way_to_distribute_make_no_controller(suite: Judged) -> None:
    done = suite("-p", "xdist", "--tx", "2*popen")
    assert done.returncode == 0, done.stdout + done.stderr
    assert suite.begun == list(ABC)


@pytest.mark.parametrize("worker", [True, False])
def test_only_a_worker_says_nothing_of_its_clean_up(suite: Judged, worker: bool) -> None:
    def told_while_it_cleans_up() -> Judgement:
        cleaning_up()
        signal.raise_signal(signal.SIGINT)
        return passed("fine")

    suite.bodies["WT-01"] = told_while_it_cleans_up
    done = suite("-s", only=("WT-01",), plugins=(Worker(),) if worker else ())
    assert ("cleaning up" in done.stderr) is not worker
