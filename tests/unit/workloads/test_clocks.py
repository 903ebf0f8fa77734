"""Pods' clocks differ from the runner's, and its records are told by its own."""

import time

import pytest

from fixtures.workloads import clocks
from fixtures.workloads.batch import Batch
from fixtures.workloads.traffic import Client, Control
from tests.unit.workloads.helpers import serving


def told(ways: list[tuple[float, float]], off: float) -> float:
    """What is found of a clock that is `off`, where the answers take so long to get there and back."""
    now, there = 1000.0, iter(ways)

    def ask() -> float:
        nonlocal now
        forth, back = next(there)
        theirs = now + forth + off
        now += forth + back
        return theirs

    return clocks.ahead(ask, lambda: now)


@pytest.mark.parametrize("off", [0.3, -2.0])
def test_the_quickest_answer_tells(off: float) -> None:
    assert told([(0.01, 0.01)], off) == pytest.approx(off)
    assert told([(3.0, 0.0), (0.01, 0.03)], off) == pytest.approx(off, abs=0.011)
    assert told([(0.3, 0.1), (0.1, 0.1), (0.2, 0.2), (0.5, 0.0), (0.1, 0.9)], off) == pytest.approx(off)


def test_a_clock_that_may_agree_is_taken_to_agree() -> None:
    assert told([(0.0, 0.04)], 0.0) == told([(0.04, 0.0)], 0.0) == 0.0
    assert told([(0.001, 0.03)], 0.0) == 0.0


@pytest.fixture
def skewed(client_program, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clocks, "ahead", lambda _: 1000.0)
    with Client.at("127.0.0.1", client_program.ports[0]) as made:
        yield made


def test_records_are_by_the_runners_clock(skewed, echo) -> None:
    began, one = time.time(), Batch(f"http://127.0.0.1:{echo.http}/", count=2, fields=())
    with skewed.start(one) as job:
        found = [*skewed.batch(one), *skewed.batches([one])[0], *job.wait(10)]
    assert len(found) == 6
    assert skewed.ahead == 1000.0
    assert all(began - 1001 < record.start < time.time() - 999 for record in found)


def test_a_client_on_this_machine_is_asked_and_agrees(client_program, client, echo) -> None:
    control = Control.of_address("127.0.0.1", client_program.ports[0])
    assert abs(control.order("GET", "/time")["time"] - time.time()) < 5
    assert abs(control.ahead()) < 0.1
    control.close()
    assert abs(client.ahead) < 0.1
    began = time.time()
    (record,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/"))
    assert began - 0.1 < record.start < time.time() + 0.1


def test_an_older_image_has_no_word_for_its_time() -> None:
    def older(peer) -> None:
        while peer.recv(4096):
            peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")

    with serving(older) as port:
        control = Control.of_address("127.0.0.1", port)
        assert control.ahead() == 0.0
        control.close()
