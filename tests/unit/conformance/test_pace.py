"""In which order and how many at once grounds start."""

from __future__ import annotations

import math
import threading

import pytest

from conformance.catalogue import grounds
from conformance.pace import FEWEST, PER_CORE, Pace, pods_at_once


@pytest.mark.parametrize(
    ("cpus", "pods"),
    [([], FEWEST), (["1"], FEWEST), (["4", "3500m"], int(7.5 * PER_CORE)), (["strange"], FEWEST), (["64"] * 3, 1344)],
)
def test_pods_by_the_processors_of_the_nodes(cpus: list[str], pods: int) -> None:
    nodes = [{"status": {"allocatable": {"cpu": cpu}}} for cpu in cpus]
    assert pods_at_once(nodes, 2 * pods + 1) == pods
    assert pods_at_once(nodes, 2 * pods) == math.inf  # few enough to start whole


class Starts:
    """Grounds that start in threads of their own and are Ready when the test says so."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.begun: list[str] = []
        self.ready: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []
        self.changed = threading.Condition()

    def start(self, name: str, pods: int) -> None:
        place = self.pace.place()
        self.ready[name] = threading.Event()
        self.threads.append(threading.Thread(target=self._run, args=(name, place, pods)))
        self.threads[-1].start()

    def _run(self, name: str, place: object, pods: int) -> None:
        with self.pace.turn(place, pods):
            with self.changed:
                self.begun.append(name)
                self.changed.notify_all()
            assert self.ready[name].wait(10)

    def saw(self, *names: str) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: sorted(self.begun) == sorted(names), 20)

    def end(self) -> None:
        for one in self.ready.values():
            one.set()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture
def starts():
    made = Starts(Pace(10))
    yield made
    made.end()


def test_what_fits_starts_together_and_the_rest_in_its_turn(starts):
    for name, pods in (("a", 6), ("b", 4), ("c", 5), ("d", 1)):
        starts.start(name, pods)
    assert starts.saw("a", "b")
    starts.ready["b"].set()  # four are free: c needs five, and d does not overtake it
    starts.ready["a"].set()
    assert starts.saw("a", "b", "c", "d")
    assert starts.begun[2:] in (["c", "d"], ["d", "c"])


def test_one_that_never_fits_starts_alone(starts):
    starts.start("huge", 40)
    starts.start("small", 1)
    assert starts.saw("huge")
    starts.ready["huge"].set()
    assert starts.saw("huge", "small")


def test_nothing_is_held_back_any_more_once_the_pace_is_given_up(starts):
    for name in ("a", "b", "c"):
        starts.start(name, 9)
    assert starts.saw("a")
    starts.pace.give_up()
    assert starts.saw("a", "b", "c")


def test_every_ground_has_a_place_of_its_own_in_the_order():
    orders = [one.order for one in grounds()]
    assert len(set(orders)) == len(orders)
