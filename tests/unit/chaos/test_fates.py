"""What became of the scene's pods, of what Kubernetes says of them."""

import pytest

from chaos.fates import fates, fresh
from chaos.standing import standing


def pod(name, uid="1", restarts=0, **more):
    told = [{"name": "echo", "restartCount": restarts}, {"name": "proxy", "restartCount": more.pop("crashes", 0)}]
    leaves = {"deletionTimestamp": "now"} if more.pop("leaves", False) else {}
    return {"metadata": {"name": name, "uid": uid, **leaves}, "status": {"containerStatuses": told, **more}}


BEFORE = standing([pod("echo-1"), pod("echo-2", restarts=3), pod("driver")])


def changed(*pods, victims=()):
    return fates(BEFORE, standing(pods), (), victims).strays


def test_pods_that_stayed_are_none():
    assert changed(pod("echo-1"), pod("echo-2", restarts=3), pod("driver"), pod("echo-3")) == ()


def test_what_became_of_the_others_is_named():
    assert changed(pod("echo-2", restarts=4), pod("driver", uid="2")) == (
        "driver was replaced",
        "echo-1 was taken away",
        "echo-2 was restarted",
    )


def test_an_evicted_pod_and_one_on_its_way_out_are_taken_away():
    found = changed(pod("echo-1", phase="Failed"), pod("echo-2", restarts=3, leaves=True), pod("driver"))
    assert found == ("echo-1 was taken away", "echo-2 was taken away")


def test_the_victim_is_the_experiments_own():
    assert changed(pod("echo-2", restarts=3), pod("driver"), pod("echo-3"), victims=("echo-1",)) == ()


def test_a_proxy_that_crashes_is_the_meshs():
    assert changed(pod("echo-1", crashes=1), pod("echo-2", restarts=3), pod("driver")) == ()


# -- why -------------------------------------------------------------------------------------------------------------

OOM = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "12:00"}
EXIT = {"reason": "Error", "exitCode": 1, "finishedAt": "12:00"}
LOST = {"reason": "Unknown", "exitCode": 255, "finishedAt": "12:00"}
LIMITED = {"limits": {"memory": "256Mi"}}


def ended(name, how, *, limits=LIMITED, last="lastState", **more):
    """A pod whose container `name` has ended and, but for `last="state"`, runs again."""
    restarts = int(last == "lastState")
    told = [{"name": name, "restartCount": restarts, last: {"terminated": how}}]
    found = pod("echo-1", **more)
    return found | {
        "spec": {"containers": [{"name": name, "resources": limits}]},
        "status": found["status"] | {"containerStatuses": told},
    }


def event(reason, message="", *, kind="Pod", name="echo-1", uid="1", version="1"):
    about = {"kind": kind, "name": name} | ({"uid": uid} if uid else {})
    meta = {"uid": f"{reason} {message}", "resourceVersion": version}
    return {"metadata": meta, "reason": reason, "message": message, "involvedObject": about}


def fate(*pods, events=(), before=None):
    found = fates(before or standing([pod("echo-1")]), standing(pods), events, ())
    return found.strays, found.crashes


@pytest.mark.parametrize(
    ("container", "how", "last", "words"),
    [
        ("echo", EXIT, "lastState", "container echo of echo-1 ended: Error, exit code 1"),
        ("echo", OOM, "lastState", "container echo of echo-1 ended: OOMKilled, exit code 137"),
        ("echo", EXIT, "state", "container echo of echo-1 ended: Error, exit code 1"),
        ("proxy", OOM, "lastState", "container proxy of echo-1 ended: OOMKilled, exit code 137"),
        ("proxy", LOST, "state", "container proxy of echo-1 ended: Unknown, exit code 255"),
    ],
)
def test_a_container_that_ended_by_itself_excuses_nobody(container, how, last, words):
    assert fate(ended(container, how, last=last)) == ((), (words,))


def test_an_ending_that_was_there_before_is_none():
    assert fate(ended("echo", EXIT), before=standing([ended("echo", EXIT)])) == ((), ())


FAILED_PROBE = event("Killing", "Container proxy failed liveness probe, will be restarted")
BACK_OFF = event("BackOff", "Back-off restarting failed container echo in pod echo-1")


@pytest.mark.parametrize("now", [(), (pod("echo-1", uid="2"),), (pod("echo-1", leaves=True),)])
@pytest.mark.parametrize("said", [FAILED_PROBE, BACK_OFF], ids=["probe", "crash loop"])
def test_a_crash_excuses_nobody_when_its_pod_is_gone(said, now):
    assert fate(*now, events=[said]) == ((), (f"echo-1: {said['message']}",))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (event("Evicted", "low on memory"), "Evicted: low on memory"),
        (event("Preempted", "by pod x"), "Preempted: by pod x"),
        (event("TaintManagerEviction", "Marking for deletion Pod s/echo-1", uid=""), "TaintManagerEviction: Marking"),
        (event("NodeNotReady", "Node is not ready"), "NodeNotReady: Node is not ready"),
        (event("SuccessfulDelete", "Deleted pod: echo-1", kind="ReplicaSet", name="echo"), "by its ReplicaSet"),
    ],
    ids=lambda one: one["reason"] if isinstance(one, dict) else "",
)
def test_who_took_a_pod_away_is_named_and_excuses_even_a_crash(said, why):
    strays, crashes = fate(events=[FAILED_PROBE, said])
    assert strays[0].startswith(f"echo-1 was taken away ({why}")
    assert crashes == ()


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted: low on memory"),
        ({"leaves": True, "reason": "NodeLost"}, "NodeLost"),
        (
            {"leaves": True, "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByAPI"}]},
            "EvictionByAPI",
        ),
    ],
    ids=["evicted", "node lost", "drained"],
)
def test_a_pod_says_itself_why_it_is_taken_away(status, why):
    assert fate(ended("echo", EXIT, **status)) == ((f"echo-1 was taken away ({why})",), ())


def test_a_restart_for_which_others_are_to_blame_is_named():
    for said in (event("SandboxChanged", "Pod sandbox changed"), event("Killing", "Container echo definition changed")):
        strays, crashes = fate(ended("echo", EXIT), events=[said])
        assert strays == (f"echo-1 was restarted ({said['reason']}: {said['message']})",)
        assert crashes == ()


def test_a_container_of_ours_without_a_limit_shows_that_its_node_was_short_of_memory():
    strays, crashes = fate(ended("echo", OOM, limits={}))
    assert ("its node had none left" in strays[0], crashes) == (True, ())
    assert fate(ended("proxy", OOM, limits={}))[0] == ()


@pytest.mark.parametrize(
    ("now", "events", "what"),
    [
        ((), (), "was taken away"),
        ((), (event("TaintManagerEviction", "Cancelling deletion of Pod s/echo-1", uid=""),), "was taken away"),
        ((), (event("Evicted", uid="another"), event("BackOff", "Back-off pulling image")), "was taken away"),
        ((ended("echo", EXIT, last="state", leaves=True),), (), "was taken away"),
        ((ended("echo", LOST),), (), "was restarted"),
        ((ended("echo", EXIT),), None, "was restarted"),
    ],
    ids=["no word", "cancelled", "of others", "ends as it leaves", "lost", "no right to events"],
)
def test_what_cannot_be_told_is_an_excuse_without_a_reason(now, events, what):
    assert fate(*now, events=events) == ((f"echo-1 {what}",), ())


def test_only_events_of_the_experiments_own_time_count():
    before = [FAILED_PROBE, BACK_OFF]
    again = BACK_OFF | {"metadata": BACK_OFF["metadata"] | {"resourceVersion": "2"}}
    assert fresh(before, [FAILED_PROBE, again]) == (again,)
    assert fresh(None, []) is None
    assert fresh([], None) is None
