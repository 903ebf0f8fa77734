"""The latency measurement: same requests with and without sidecars, in interleaved blocks, compared pair by pair.

The arms run one after the other, never side by side: on a small machine two loads at once would measure each other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fixtures.kube import Kube, NotEventually, eventually
from fixtures.kube.runner import RUN_LABEL, RUNNER, runner_name
from fixtures.workloads import echo_deployment, service
from fixtures.workloads.manifests import account_manifest
from load.comparison import AGAIN, BASE, MESHED, Block, measurement
from load.manifests import driver_pod
from load.meshing import Meshing, limited
from load.ready import wait_ready
from load.remote import Driver, JobFailed
from load.spec import LoadSpec
from load.statistics import block_order
from load.usage import Usage, proxy_usage
from reports.model import Result, Verdict

__all__ = ["Arm", "Plan", "measure", "run_block", "run_short"]

Report = Callable[[str], None]
ECHO_PORT = 8080


@dataclass(frozen=True)
class Plan:
    """How a measurement is made."""

    pairs: int = 20
    rate: float = 200.0
    """Requests per second in every arm; at most half of what the slowest arm can take."""
    block_seconds: float = 1.0
    users: int = 4
    warmup_requests: int = 20
    """Requests at the start of each block that are sent and not counted: caches and connections turn warm."""
    lag_budget_us: float = 1000.0
    """A block counts only when the driver's own clock was this late at most, for 90 % of the time."""
    seed: int = 1
    ready_timeout: float = 60.0
    """Seconds for the pods to become ready."""
    strict_timeout: float = 15.0
    """Seconds for strict mutual TLS to be in force."""
    short: bool = False
    """Marks the short form of the main run in the report."""

    @property
    def most_pairs(self) -> int:
        """Pairs measured at the most: one whose blocks do not count is followed by another, within half as many.

        Whether a block counts depends on the driver's lateness, never on the latency that is compared, and on requests
        that failed: where those are the mesh's, nothing is passed.
        """
        return self.pairs + self.pairs // 2


SHORT = Plan(pairs=12, block_seconds=0.3, rate=250.0, warmup_requests=15, short=True)
"""About 25 s with three arms, pods included."""


@dataclass(frozen=True)
class Arm:
    """One way from a driver to an echo server."""

    name: str
    driver: Driver
    url: str


def run_short(
    kube: Kube,
    meshing: Meshing,
    image: str,
    report: Report = lambda _: None,
    timeouts: Mapping[str, float] | None = None,
) -> tuple[Result, ...]:
    """The short form for the main run, with time limits of the user's own by the names of the settings."""
    return (measure(kube, meshing, image, limited(SHORT, timeouts or {}), report),)


def measure(kube: Kube, meshing: Meshing, image: str, plan: Plan, report: Report = lambda _: None) -> Result:
    """Set the pods up, measure all blocks, take the pods away, judge. How to do it again is for the caller to say.

    Raises EnvironmentProblem where pods do not become ready or the driver cannot be reached.
    """
    started = time.time()
    blocks: list[Block] = []
    with _ground(kube, meshing, image, plan, report) as (arms, unproven):
        if unproven:
            return _not_strict(unproven, meshing.strict("").problem, started, plan)
        space = arms[MESHED].driver.namespace if MESHED in arms else ""
        before = proxy_usage(kube, space) if space else None
        names = [name for name in (BASE, AGAIN, MESHED) if name in arms]
        valid = 0
        for pair, order in enumerate(block_order(names, plan.most_pairs, plan.seed)):
            report(f"pair {valid + 1} of {plan.pairs}" + (f", {pair - valid} invalid" if pair > valid else ""))
            fresh = [run_block(arms[name], pair, plan) for name in order]
            blocks += fresh
            valid += not any(block.problem(plan.lag_budget_us) for block in fresh)
            if valid == plan.pairs:
                break
        used = _used(before, proxy_usage(kube, space) if space else None)
    detail: dict[str, Any] = {
        "form": "short form of the main run: wide intervals; `meshproof load latency` measures in full"
        if plan.short
        else "full",
        "pairs": plan.pairs,
        "rate per second": plan.rate,
        "block seconds": plan.block_seconds,
        "connections": plan.users,
        "seed": plan.seed,
        "lag budget µs": plan.lag_budget_us,
        "order": "a random order of the arms, then its mirror image, repeated",
        "schedule": "open loop, evenly spaced, latency from the intended send",
        "set-up seconds": round(time.time() - started - sum(plan.block_seconds for _ in blocks), 1),
    }
    return measurement(
        blocks,
        id="LAT01",
        title="latency that two sidecars add" + (" (short form)" if plan.short else ""),
        lag_budget_us=plan.lag_budget_us,
        seed=plan.seed,
        started=started,
        seconds=time.time() - started,
        meshed=meshing.injects,
        usage=used,
        detail=detail,
    )


def run_block(arm: Arm, pair: int, plan: Plan) -> Block:
    """Send one block of requests over an arm and wait for its end; one that has none is a block without figures."""
    seconds = plan.block_seconds + plan.warmup_requests / plan.rate
    spec = LoadSpec(arm.url, plan.rate, seconds, users=plan.users, timeout=2.0, warmup=plan.warmup_requests)
    try:
        done = arm.driver.start(spec).wait()
    except JobFailed as problem:
        return Block(pair, arm.name, 0, 0, 0, "", "", "", "", problem.problem)
    told = done.histograms
    sent = done.requests + plan.warmup_requests
    shapes = (told[name] for name in ("latency", "service", "lag", "clock"))
    return Block(pair, arm.name, done.requests, sent, done.errors, *shapes)


def _used(before: Usage | None, after: Usage | None) -> dict[str, float]:
    """CPU seconds and memory of all proxies over the whole measurement; empty where a cgroup could not be read."""
    if before is None or after is None:
        return {}
    return {"cpu_seconds": after.cpu_seconds - before.cpu_seconds, "memory_bytes": after.memory_bytes}


@contextmanager
def _ground(
    kube: Kube, meshing: Meshing, image: str, plan: Plan, report: Report
) -> Iterator[tuple[Mapping[str, Arm], str]]:
    """The namespaces, pods and port-forwards of all arms; and why strict mutual TLS is not in force, or ""."""
    token = secrets.token_hex(3)
    with ExitStack() as stack:
        report("starting the pods")
        # So that a later run finds what this one leaves, should it be killed.
        labels, annotations = {RUN_LABEL: f"load-{token}"}, {RUNNER: runner_name()}
        plain = stack.enter_context(kube.namespace(f"meshproof-load-plain-{token}", labels, annotations))
        kube.apply(*_objects(plain, image, Meshing(meshing.mesh)))
        spaces = {BASE: plain}
        if meshing.injects:
            meshed = f"meshproof-load-meshed-{token}"
            strict = meshing.strict(meshed)
            stack.enter_context(
                kube.namespace(
                    meshed,
                    {**labels, **meshing.namespace_labels, **strict.labels},
                    {**annotations, **meshing.namespace_annotations, **strict.annotations},
                )
            )
            kube.apply(*strict.objects, *_objects(meshed, image, meshing), namespace=meshed)
            spaces[MESHED] = meshed
        for space in spaces.values():
            wait_ready(kube, space, 2, plan.ready_timeout)
        drivers = {name: stack.enter_context(Driver(kube, space, "driver")) for name, space in spaces.items()}
        arms = {name: Arm(name, drivers[name], f"http://echo.{space}:{ECHO_PORT}/") for name, space in spaces.items()}
        arms[AGAIN] = replace(arms[BASE], name=AGAIN)
        for arm in arms.values():
            _reachable(arm, plan)
        unproven = _strict(arms, plan) if MESHED in arms else ""
        yield arms, unproven


def _objects(namespace: str, image: str, meshing: Meshing) -> list[Mapping[str, Any]]:
    labels, annotations = dict(meshing.pod_labels), dict(meshing.pod_annotations)
    clients: list[Mapping[str, Any]] = []
    if meshing.needs_service:  # and then a pod runs as the account of its Service's name
        own = service("driver", namespace, {"app": "driver"}, {"http": ECHO_PORT})
        clients = [account_manifest("driver", namespace), own]
    account = "driver" if clients else None
    return [
        *meshing.called("echo"),
        *clients,
        *echo_deployment("echo", namespace, image=image, labels=labels, annotations=annotations),
        service("echo", namespace, {"app": "echo"}, {"http": ECHO_PORT}),
        driver_pod("driver", namespace, image=image, labels=labels, annotations=annotations, service_account=account),
    ]


def _probe(driver: Driver, url: str, count: int = 5) -> int:
    """How many of a few requests got a good answer."""
    done = driver.start(LoadSpec(url, 100.0, count / 100, users=1, timeout=1.0)).wait()
    return done.requests - done.errors


def _reachable(arm: Arm, plan: Plan) -> None:
    eventually(
        lambda: _probe(arm.driver, arm.url) == 5,
        timeout=plan.strict_timeout,
        what=f"{arm.url} answers the driver of arm {arm.name}",
    )


def _strict(arms: Mapping[str, Arm], plan: Plan) -> str:
    """Mutual TLS is proven by what is refused: the driver without a sidecar must get nothing from the strict echo."""
    try:
        eventually(
            lambda: _probe(arms[BASE].driver, arms[MESHED].url) == 0,
            timeout=plan.strict_timeout,
            what="the strict echo server refuses a driver without a sidecar",
        )
    except NotEventually as problem:
        return problem.problem
    return ""


def _not_strict(why: str, wordless: str, started: float, plan: Plan) -> Result:
    """Without proof of mutual TLS the arm would carry a wrong name; unsupported where the mesh has no words for it."""
    return Result(
        id="LAT01",
        title="latency that two sidecars add" + (" (short form)" if plan.short else ""),
        kind="measurement",
        group="latency",
        level="extended",
        verdict=Verdict.UNSUPPORTED if wordless else Verdict.INCONCLUSIVE,
        reason=f"mutual TLS between the sidecars is not proven: {wordless or why}",
        proves=("proxy-latency",),
        started=started,
        seconds=time.time() - started,
    )
