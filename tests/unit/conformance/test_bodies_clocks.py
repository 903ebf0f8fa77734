"""Where the runner's clock is off: an expiry is by the clock of a node, and so is what it is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.checks import peers, upheaval
from conformance.checks.authority import Look, look
from conformance.checks.peers_judges import Arm
from conformance.context import Context, Pod
from conformance.forgery import forge
from fixtures.workloads.traffic import Record


@pytest.mark.parametrize("ahead", [0.0, -30.0, 7.5])
def test_id_02_dates_a_certificate_by_the_beginning_of_the_handshake_that_showed_it(ahead: float) -> None:
    """And by the clock of a node, as the authority that signed it; the record's is the runner's."""
    slow = Record(100.0, 2.9, tls={"server_certificate": forge("spiffe://a").chain})
    outsider = SimpleNamespace(batch=lambda _: [slow], ahead=ahead)
    ctx = SimpleNamespace(adapter=SimpleNamespace(proxy=None), outsider=lambda: outsider)
    seen = look(cast("Context", ctx), Pod("server", "in", "10.0.0.9", {}))
    assert seen.at == 100.0 + ahead
    assert seen.certificate is not None


@pytest.mark.parametrize("ahead", [0.0, -30.0, 30.0])
def test_mtls_11_waits_for_the_expiry_by_the_clock_of_a_node(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    clock = [1000.0]
    shown = Arm("a certificate before its expiry", True, 20, 20, 20, {})
    credentials = SimpleNamespace(not_after=clock[0] + ahead + 4.0)
    monkeypatch.setattr(peers, "time", SimpleNamespace(sleep=lambda left: clock.append(clock[-1] + left)))
    monkeypatch.setattr(peers, "shown", lambda *_, **__: shown)
    monkeypatch.setattr(peers, "own", lambda *_: None)
    monkeypatch.setattr(peers, "_client", lambda _: None)
    ctx = SimpleNamespace(
        shared=lambda *_, **__: peers.Brief(cast("Any", credentials), shown),
        outsider=lambda: SimpleNamespace(ahead=ahead),
        now=lambda: clock[-1],
    )
    assert peers.expired(cast("Context", ctx)).unsound == ""
    assert clock[-1] == 1004.0 + peers.PAST_SECONDS


@pytest.mark.parametrize("ahead", [0.0, -30.0, 30.0])
def test_id_05_and_06_see_an_expiry_by_the_clock_of_a_node(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    clock = [1000.0]
    end = datetime.fromtimestamp(1010.0 + ahead, UTC)
    certificate = cast("Any", SimpleNamespace(not_valid_after_utc=end))
    monkeypatch.setattr(upheaval, "look", lambda *_: Look(clock[0], certificate, ""))
    monkeypatch.setattr(upheaval, "_away", lambda _: contextlib.nullcontext(True))
    monkeypatch.setattr(upheaval, "_fresh", lambda _: None)
    monkeypatch.setattr(upheaval, "served", lambda *_: True)
    monkeypatch.setattr(upheaval, "counted", lambda *_, **__: None)

    def watch(probe: Callable[[], bool], _: float) -> None:
        while not probe():
            clock[0] += 0.5

    ctx = SimpleNamespace(
        render=lambda _: None,
        pod=lambda _: None,
        client=lambda: SimpleNamespace(batch=lambda _: []),
        outsider=lambda: SimpleNamespace(ahead=ahead),
        now=lambda: clock[0],
        watch=watch,
    )
    found = upheaval.outage(cast("Context", ctx))
    assert (found.valid_for, found.shown_expired) == (10.0, True)
