from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from xdist import newhooks

from conformance import plugin
from conformance.catalogue import checks, ground_of
from conformance.scheduling import ByGround, checks_in, together

NODE = "conformance/test_mesh.py::test_mesh[{}]"


class Worker:
    """What xdist's scheduler asks of a worker."""

    shutting_down = False

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def config() -> Any:
    option = SimpleNamespace(loadscopereorder=True, maxschedchunk=None)
    return SimpleNamespace(option=option, getvalue={"tx": ["2*popen"], "dist": "load"}.get)


def silent(*_: object) -> None:
    """A log for nobody."""


def test_checks_of_one_ground_share_a_worker(config):
    scheduler = ByGround(config, SimpleNamespace(loadscopesched=silent))
    assert scheduler._split_scope(NODE.format("CB-01")) == "cb"
    assert scheduler._split_scope(NODE.format("INJ-06") + "@x") == "join"
    assert scheduler._split_scope(NODE.format("ID-05")) == scheduler._split_scope(NODE.format("LC-03")) == "wide"
    assert scheduler._split_scope("tests/test_other.py::test_it[3]") == "tests/test_other.py::test_it[3]"


@pytest.mark.parametrize(
    ("dist", "item", "scope"),
    [
        ("load", "tests/a.py::Of::test_it", "tests/a.py::Of::test_it"),
        ("loadscope", "tests/a.py::Of::test_it", "tests/a.py::Of"),
        ("loadfile", "tests/a.py::Of::test_it", "tests/a.py"),
        ("loadgroup", "tests/a.py::Of::test_it[a@b]", "tests/a.py::Of::test_it[a@b]"),
        ("loadgroup", "tests/a.py::Of::test_it@db", "db"),
        ("loadgroup", NODE.format("CB-01") + "@db", "cb"),
    ],
)
def test_what_is_none_of_ours_stays_together_as_the_user_says(config, dist, item, scope):
    config.getvalue = {"tx": ["2*popen"], "dist": dist}.get
    assert ByGround(config, SimpleNamespace(loadscopesched=silent))._split_scope(item) == scope


class Theirs:
    """A conftest with a scheduler of its own: what is registered last is asked first."""

    def pytest_xdist_make_scheduler(self) -> object:
        return self


def test_no_scheduler_of_a_conftests_parts_a_ground(config):
    manager = pytest.PytestPluginManager()
    manager.add_hookspecs(newhooks)
    manager.register(plugin)
    manager.register(Theirs())
    config.getoption = lambda *_: "linkerd"
    made = manager.hook.pytest_xdist_make_scheduler(config=config, log=SimpleNamespace(loadscopesched=silent))
    assert isinstance(made, ByGround)


def test_the_whole_mesh_is_touched_last_and_by_one_worker(config):
    scheduler = ByGround(config, SimpleNamespace(loadscopesched=silent))
    workers = [Worker("gw0"), Worker("gw1")]
    scheduler.numnodes = len(workers)
    items = [NODE.format(one.id) for one in checks()]
    for worker in workers:
        scheduler.add_node(worker)
    for worker in workers:
        scheduler.add_node_collection(worker, items)
    scheduler.schedule()
    done: list[int] = []
    while todo := [(worker, index) for worker in workers for index in worker.given if index not in done]:
        worker, index = todo[0]
        done.append(index)
        scheduler.mark_test_complete(worker, index)
    assert len(done) == len(items)
    wide = [index for index, one in enumerate(checks()) if ground_of(one.ground).wide]
    assert sum(set(wide) <= set(worker.given) for worker in workers) == 1
    last = next(worker.given for worker in workers if set(wide) <= set(worker.given))
    assert set(last[-len(wide) :]) == set(wide)


def test_grounds_are_handed_out_in_their_order(config):
    scheduler = ByGround(config, SimpleNamespace(loadscopesched=silent))
    workers = [Worker("gw0"), Worker("gw1")]
    scheduler.numnodes = len(workers)
    items = [NODE.format(one.id) for one in reversed(checks())]
    for worker in workers:
        scheduler.add_node(worker)
    for worker in workers:
        scheduler.add_node_collection(worker, items)
    scheduler.schedule()
    first, second = (ground_of(checks_in([items[worker.given[0]]])[0].ground).order for worker in workers)
    orders = sorted({(one.order, one.name) for one in map(ground_of, {check.ground for check in checks()})})
    assert [first, second] == [order for order, _ in orders[:2]]


def begun(config: Any, *ids: str) -> tuple[ByGround, list[Worker], list[str]]:
    """A schedule of these items that two workers have begun."""
    scheduler = ByGround(config, SimpleNamespace(loadscopesched=silent))
    workers = [Worker("gw0"), Worker("gw1")]
    scheduler.numnodes = len(workers)
    items = [NODE.format(one) if "::" not in one else one for one in ids]
    for worker in workers:
        scheduler.add_node(worker)
    for worker in workers:
        scheduler.add_node_collection(worker, items)
    scheduler.schedule()
    return scheduler, workers, items


def test_no_check_of_a_ground_is_begun_after_its_worker_died(config):
    scheduler, workers, items = begun(config, "WT-01", "WT-02", "WT-03", "CB-01", "CB-02", "RT-01", "LC-01")
    dead = next(worker for worker in workers if 0 in worker.given)
    left = next(worker for worker in workers if worker is not dead)
    while dead.given[0] != 0:
        scheduler.mark_test_complete(dead, dead.given.pop(0))
    scheduler.mark_test_complete(dead, 0)
    assert scheduler.remove_node(dead) == items[1]
    done: list[int] = []
    while todo := [index for index in left.given if index not in done]:
        done.append(todo[0])
        scheduler.mark_test_complete(left, todo[0])
    assert not scheduler.has_pending
    assert not {1, 2} & {*left.given}
    assert {*done, *dead.given} | {0, 1, 2} == set(range(len(items)))


def test_what_is_done_is_not_handed_out_again_when_its_worker_dies(config):
    scheduler, workers, items = begun(config, "tests/a.py::one", "tests/b.py::two", "tests/c.py::three")
    dead, left = workers
    scheduler.mark_test_complete(dead, dead.given[0])
    assert scheduler.remove_node(dead) == items[dead.given[1]]
    assert not scheduler.workqueue
    assert not {*dead.given[:2]} & {*left.given}


def test_a_worker_that_is_through_leaves_nothing_behind(config):
    scheduler, workers, _ = begun(config, "WT-01", "CB-01")
    scheduler.mark_test_complete(workers[0], workers[0].given[0])
    assert scheduler.remove_node(workers[0]) is None


def test_checks_are_named_by_the_ids_of_their_items():
    found = checks_in([NODE.format("CB-01"), "tests/test_other.py::test_it[3]", NODE.format("INJ-05") + "@x"])
    assert [one.id for one in found] == ["CB-01", "INJ-05"]
    assert checks_in([]) == ()


@pytest.mark.parametrize("words", ["WT-01-1-2", "eu-WT-01", "WT-01-US-1", "US-1-WT-01-EU-01"])
def test_checks_are_named_whatever_other_plugins_put_beside_their_ids(config, words):
    assert [one.id for one in checks_in([NODE.format(words)])] == ["WT-01"]
    assert ByGround(config, SimpleNamespace(loadscopesched=silent))._split_scope(NODE.format(words)) == "wt"


@pytest.mark.parametrize("item", ["tests/test_mine.py::test_it[WT-01]", NODE.format("XWT-01"), NODE.format("WT-00")])
def test_what_only_looks_like_a_check_is_none(item):
    assert checks_in([item]) == ()


def test_grounds_are_taken_in_the_order_of_their_first_items():
    named = ["wt", None, "wide", "cb", "wt", None, "cb", "wide"]
    order = together(named)
    assert [named[place] for place in order] == ["wt", "wt", None, "cb", "cb", None, "wide", "wide"]
    assert order == [0, 4, 1, 3, 6, 5, 2, 7]
    assert together([]) == []
