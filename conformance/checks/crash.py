"""LC-04: a proxy crashes under a running application."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from conformance.catalogue import check
from conformance.checks.bystanders import OURS, strangers_in
from conformance.checks.capture_judges import Tries
from conformance.checks.injection import changes_pods
from conformance.checks.lifecycle import GROUND, refused, steady
from conformance.checks.lifecycle_judges import Crash, judge_crash
from conformance.context import LIMITS, Context
from fixtures.kube.containers import containers_of, statuses_of
from fixtures.workloads.traffic import Batch
from reports.errors import EnvironmentProblem

__all__: list[str] = []

BACK = 40.0
"""Seconds in which a crashed proxy must be back: a kubelet waits ten before the second restart of a container."""
TRIES, WAITING = 20.0, 64
"""Tries of plaintext a second, and how many may wait: nearly all do where a mesh answers them by nothing at all."""
KILL = (
    ("python", "-c", "import os; os.kill(-1, 9)"),
    ("sh", "-c", "kill -9 -1"),
)
"""What ends every process of a container but its first, in images of all kinds; one of them is there."""


@check(
    id="LC-04",
    title="A crashed proxy comes back, and nothing goes around it",
    proves=("life cycle", "proxy crash"),
    judge=judge_crash,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/",
)
def crash(ctx: Context) -> Crash:
    """Kill every process of the proxy's container under a running application."""
    changes_pods(ctx)
    (pod,) = ctx.pods("fragile")
    others = OURS | strangers_in(ctx)
    running = [
        one["name"]
        for one in containers_of(pod.object)
        if one["name"] not in others and one.get("restartPolicy", "Always") == "Always"
    ]
    started = {
        one["name"] for one in statuses_of(pod.object) if "running" in one.get("state", {}) and one["name"] in running
    }
    if not started:
        return Crash((), 0, 0, None, BACK, ())
    before = _restarts(pod.object)
    refused(ctx, pod)
    batch = Batch(url=ctx.url("fragile"), count=3, timeout=LIMITS.probe, fresh=True)

    def now() -> Mapping[str, int]:
        return _restarts(ctx.kube.get("v1", "Pod", pod.name, pod.namespace) or {})

    missed = 0
    back: float | None = None

    def again() -> bool:
        nonlocal missed, back
        restarted = any(now().get(name, 0) > before.get(name, 0) for name in started)
        answered = all(one.ok for one in ctx.client().batch(batch))
        missed += not answered
        if restarted and answered:
            back = ctx.now() - at
        return back is not None

    plain = replace(
        steady(f"http://{pod.host}:8080/"),
        rate=TRIES,
        concurrency=WAITING,
        timeout=LIMITS.probe,
        fresh=True,
        fields=("pod", "peer"),
    )
    # From before the crash on: where orders take long, the proxy may be back when the last of them has been answered.
    with ctx.outsider().start(plain) as job:
        at = ctx.now()
        for container in sorted(started):
            for command in KILL:
                # An image without the program refuses, and a container that is gone cannot be told anything more.
                with contextlib.suppress(EnvironmentProblem):
                    ctx.kube.exec(pod.namespace, pod.name, command, container=container)
        ctx.watch(again, BACK)
        ended = ctx.now()
        tries = job.finish()
    sent = sorted(one.sent for one in tries if at < one.sent < ended)
    later = now()
    return Crash(
        added=tuple(sorted(started)),
        restarts=sum(later.get(name, 0) - before.get(name, 0) for name in started),
        own_restarts=sum(count - before.get(name, 0) for name, count in later.items() if name in OURS),
        back=back,
        limit=BACK,
        plaintext=(Tries.of(f"plaintext to {pod.name}", tries),),
        missed=missed,
        unwatched=max(two - one for one, two in pairwise((at, *sent, ended))),
    )


def _restarts(pod: Mapping[str, Any]) -> dict[str, int]:
    return {one["name"]: int(one.get("restartCount", 0)) for one in statuses_of(pod)}
