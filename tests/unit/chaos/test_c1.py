"""C1, judged on made-up histories and tried on made-up proxies."""

from types import SimpleNamespace
from typing import Any, cast

from chaos.experiments import EXPERIMENTS, c1
from chaos.scene import Scene
from chaos.settings import Settings
from reports.model import Verdict
from tests.unit.chaos.helpers import AWAY, INJECTED, UNDONE, history, replaced, sample, traffic


def returned(after, **more):
    """The control plane was ready a second after the undo, and proxies had news so many seconds after that."""
    marks = {"ready": UNDONE + 1.0, "recovered": UNDONE + 1.0 + after, "ended": UNDONE + 15}
    return history(**{**marks, "facts": AWAY, **more})


def test_c1_gives_proxies_ten_seconds_from_the_control_planes_return():
    for after, verdict in ((-0.1, Verdict.PASS), (9.9, Verdict.PASS), (10.1, Verdict.FAIL)):
        assert c1.judge(returned(after)).verdict is verdict
    assert "10.1 s" in c1.judge(returned(10.1)).reason


def test_c1_says_for_how_long_the_control_plane_was_away():
    assert "no pod of mesh/plane ran for 3.5 s" in c1.judge(returned(1.0)).reason


def test_c1_fails_with_an_error_and_where_proxies_never_have_news():
    lost = replaced(traffic(), INJECTED + 1, INJECTED + 1.05, error="reset")
    assert c1.judge(returned(1.0, samples=lost)).verdict is Verdict.FAIL
    silent = c1.judge(returned(0, recovered=None, steady=UNDONE))
    assert silent.verdict is Verdict.FAIL
    assert "no news within 14 s" in silent.reason


def test_c1_waits_for_a_control_plane_that_starts_slowly_and_blames_no_mesh_for_it():
    late = EXPERIMENTS["C1"].judge(
        returned(0, ready=None, recovered=None, steady=UNDONE, ended=UNDONE + 60, awaited="the control plane")
    )
    assert late.verdict is Verdict.INCONCLUSIVE
    assert "the control plane was not ready within 60 s" in late.reason


def test_c1_says_nothing_where_proxies_have_a_control_plane_still():
    for noted, why in (
        ({c1.TOLD: 3}, "did not land: proxies had news while no pod of mesh/plane ran"),
        ({c1.ASKED: 0}, "nobody could ask"),
    ):
        judgement = EXPERIMENTS["C1"].judge(returned(1.0, facts=AWAY | noted))
        assert judgement.verdict is Verdict.INCONCLUSIVE
        assert why in judgement.reason


def test_c1_asks_for_news_as_long_as_the_control_plane_is_away_and_no_longer():
    def kube(replicas):
        plane = {"spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "plane"}}}}
        made = [{"spec": {"clusterIP": "10.0.0.7"}}]
        return cast("Any", SimpleNamespace(get=lambda *_: plane, list=lambda *_: [], apply=lambda _: made))

    def noted(replicas, *answers):
        given = iter(answers)

        def start(_):
            return SimpleNamespace(wait=lambda: SimpleNamespace(samples=[sample(0.0)] * next(given)))

        adapter: Any = SimpleNamespace(control_plane=lambda: ("mesh", "plane"))
        driver, nobody = cast("Any", SimpleNamespace(start=start)), cast("Any", None)
        setup = EXPERIMENTS["C1"].prepare(Scene(kube(replicas), adapter, "x", driver, nobody, Settings()))
        for _ in answers:
            setup.observe(1.0)
        return dict(setup.facts)

    assert noted(0, False, False) == AWAY | {c1.ASKED: 2}
    assert noted(0, False, True) == AWAY | {c1.ASKED: 2, c1.TOLD: 1}
    assert noted(1, True) == {"control plane": "mesh/plane"}


def test_c1_does_not_wait_for_a_name_that_was_unknown_before():
    asked, applied = [], []

    def apply(item):
        applied.append(item["metadata"]["name"])
        return [{**item, "spec": {**item["spec"], "clusterIP": "fd00::7"}}]

    def start(spec):
        asked.append((spec.url, dict(spec.headers)))
        return SimpleNamespace(wait=lambda: SimpleNamespace(samples=[sample(0.0)] * (len(asked) > 1)))

    kube: Any = SimpleNamespace(apply=apply, list=lambda *_: [])
    adapter: Any = SimpleNamespace(control_plane=lambda: ("mesh", "plane"))
    driver, nobody = cast("Any", SimpleNamespace(start=start)), cast("Any", None)
    setup = EXPERIMENTS["C1"].prepare(Scene(kube, adapter, "x", driver, nobody, Settings()))
    assert [setup.recovered(), setup.recovered()] == [False, True]
    assert applied == ["echo-after-8082"]
    assert set(map(str, asked)) == {str(("http://[fd00::7]:8082/", {"Host": "echo-after-8082.x:8082"}))}


class Proxies:
    """The scene of a mesh whose proxies hear of services only while there is a control plane."""

    space = "x"
    adapter: Any = SimpleNamespace(control_plane=lambda: ("mesh", "plane"))

    def __init__(self):
        self.kube, self.replicas, self.services, self.known = self, 1, [], set()

    def scaled(self, replicas):
        self.replicas = replicas
        self.hear()

    def hear(self):
        self.known |= {one["metadata"]["name"] for one in self.services} if self.replicas else set()

    def get(self, *_):
        return {"spec": {"replicas": self.replicas, "selector": {}}, "status": {"readyReplicas": self.replicas}}

    def list(self, _, kind, *__):
        return self.services if kind == "Service" else []

    def apply(self, item):
        assert all(item["spec"]["ports"] != one["spec"]["ports"] for one in self.services)
        self.services.append({**item, "spec": {**item["spec"], "clusterIP": "10.0.0.7"}})
        self.hear()
        return self.services[-1:]

    def reaches(self, _, host):
        return host.partition(".")[0] in self.known


def test_c1_is_as_good_the_second_time_on_a_scene():
    scene: Any = Proxies()
    for _ in range(2):
        setup = EXPERIMENTS["C1"].prepare(scene)
        scene.scaled(0)
        setup.observe(1.0)
        scene.scaled(1)
        assert setup.recovered()
        assert setup.facts == AWAY | {c1.ASKED: 1}
