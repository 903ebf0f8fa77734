"""Ten minutes of random changes under traffic: no request fails that the configuration did not ask to fail.

MESHPROOF_CHURN_SECONDS=60 MESHPROOF_CHURN_SEED=7 ./meshproof test --long -k changes
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from functools import partial
from random import Random, SystemRandom

import pytest

from fixtures.kube import eventually
from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.batch import Batch, Record
from fixtures.workloads.traffic import Client
from reports.errors import MeshproofError
from tests.integration.refmesh.churn import SERVERS, Change, changes, rules
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("refmesh")]
PORTS = {"http": 8080, "grpc": 7070}
SECONDS = float(os.environ.get("MESHPROOF_CHURN_SECONDS", "600"))
SEED = int(os.environ.get("MESHPROOF_CHURN_SEED") or SystemRandom().randrange(10**6))
GAP = 0.4
"""Mean seconds between changes."""
RATE = 20.0


@pytest.fixture(scope="module")
def town(mesh: Mesh) -> Iterator[str]:
    with mesh.kube.namespace(f"churn-{uuid.uuid4().hex[:6]}", labels={"istio-injection": "enabled"}) as namespace:
        for name in SERVERS:
            side, _, version = name.partition("-")
            mesh.kube.apply(
                *echo_deployment(name, namespace, image=mesh.image, version=version, labels={"side": side}),
                service(name, namespace, {"app": name}, PORTS),
            )
        for side in ("left", "right"):
            mesh.kube.apply(service(side, namespace, {"side": side}, PORTS))
        mesh.kube.apply(client_pod("client", namespace, image=mesh.image))
        mesh.kube.wait_pods_ready(namespace, count=len(SERVERS) + 1, timeout=120)
        yield namespace


def test_changes_cost_no_request(mesh: Mesh, town: str, capsys: pytest.CaptureFixture[str]) -> None:
    random = Random(SEED)
    mesh.kube.apply(rules(random, town))
    with Client(mesh.kube, town, "client") as client, ExitStack() as stack:
        batches = [
            Batch(url=f"http://left.{town}:8080/", headers={"x-user": "vip"}),
            Batch(url=f"http://left.{town}:8080/", fresh=True),
            Batch(url=f"http://right.{town}:8080/", protocol="h2c"),
            Batch(url=f"grpc://left.{town}:7070", protocol="grpc"),
        ]
        for batch in batches:
            eventually(partial(_answers, client, batch), timeout=60, what=f"{batch.url} answers")
        jobs = [stack.enter_context(client.start(Batch(**{**vars(batch), **_steady()}))) for batch in batches]
        found: list[list[Record]] = [[] for _ in jobs]
        made: list[tuple[float, Change]] = []
        over = time.monotonic() + SECONDS
        for change in changes(random, town):
            if time.monotonic() > over:
                break
            _make(mesh, town, change)
            made.append((time.time(), change))
            for job, seen in zip(jobs, found, strict=True):
                seen.extend(job.records(len(seen)))
            time.sleep(random.expovariate(1 / GAP))
    lost = [(one, _before(made, one)) for records in found for one in records if not one.ok]
    with capsys.disabled():
        print(f"seed {SEED}: {len(made)} changes, {sum(map(len, found))} requests, {len(lost)} lost")  # noqa: T201
    assert [f"{one.status or one.error} {one.detail} after {change}" for one, change in lost] == [], f"seed {SEED}"
    assert min(map(len, found)) > 0.8 * RATE * SECONDS
    _everything_is_in_force(mesh, town)


def _answers(client: Client, batch: Batch) -> bool:
    return client.batch(batch)[0].ok


def _steady() -> dict[str, object]:
    return {"rate": RATE, "duration": SECONDS + 60, "concurrency": 8, "timeout": 10.0, "fields": ("version",)}


def _make(mesh: Mesh, namespace: str, change: Change) -> None:
    if change.scale is not None:
        name, replicas = change.scale
        mesh.kube.patch("apps/v1", "Deployment", name, {"spec": {"replicas": replicas}}, namespace)
    elif change.delete is not None:
        mesh.kube.delete(*change.delete, namespace)
    elif change.apply is not None:
        with pytest.raises(MeshproofError, match="admission webhook") if change.refused else nullcontext():
            mesh.kube.apply(change.apply)


def _before(made: list[tuple[float, Change]], record: Record) -> str:
    """What was changed in the two seconds before a request ended."""
    end = record.start + record.seconds
    return "; ".join(f"{change.what} ({end - at:.2f} s)" for at, change in made if end - 2 < at < end)


def _everything_is_in_force(mesh: Mesh, namespace: str) -> None:
    def rows() -> Counter[str]:
        proxies = json.loads(mesh.run("proxy-status", "-o", "json").stdout)
        mine = [row for row in proxies if namespace in str(row["proxy"])]
        return Counter(row[kind] for row in mine for kind in ("CDS", "LDS", "EDS", "RDS"))

    eventually(lambda: set(rows()) == {"SYNCED"}, timeout=60, what="every proxy has everything")
    (pod,) = mesh.kube.list("v1", "Pod", "refmesh-system", "app=refmesh")
    assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0]
