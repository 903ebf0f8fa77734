"""What injection adds to the creation of a pod, beside a webhook that does nothing.

Dry-run creations of one pod in three namespaces take turns: without a webhook, with a no-op webhook (the same server
library, an empty approval), and injected by refmesh. A dry run passes authentication, admission and validation and
stops before etcd, which would only add noise. The ratio compares what the two webhooks add to the plain creation. The
design's limits are of that, too: quantiles of the differences within a round, in which both were as busy a machine's.

    meshproof cluster create bench && meshproof refmesh install …
    python benchmarks/webhook_create.py --kubeconfig … --image … --rounds 300
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config

from fixtures.kube import Kube, eventually
from fixtures.workloads.pod.certificate import make
from load.statistics import bootstrap_interval

PLAIN, NOOP, REFMESH = "no webhook", "no-op webhook", "refmesh"
SPACES = {PLAIN: "bench-plain", NOOP: "bench-noop", REFMESH: "bench-refmesh"}
HOOK = "meshproof-bench-noop"
LIMIT_P50_MS, LIMIT_P99_MS = 3.0, 10.0
"""Of what injection adds to a pod's creation."""
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
SERVER = """
import json, ssl
from aiohttp import web
async def allow(request):
    uid = json.loads(await request.read())["request"]["uid"]
    answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": True}}
    return web.json_response(answer)
app = web.Application()
app.router.add_post("/", allow)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/certs/both.pem")
web.run_app(app, port=8443, ssl_context=context, access_log=None, print=None)
"""


@contextmanager
def noop_webhook(kube: Kube, image: str) -> Iterator[None]:
    """A pod with the no-op server, and the configuration that sends the creations of one namespace to it."""
    with kube.namespace("bench-noop-server") as home:
        both = make([f"noop.{home}.svc"])
        meta = {"name": "noop", "namespace": home, "labels": {"app": "noop"}}
        container = {
            "name": "noop",
            "image": image,
            "command": ["python", "-c", SERVER],
            "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
            "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        }
        volume = {"name": "certs", "secret": {"secretName": "noop"}}
        spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1}
        port = {"port": 443, "targetPort": 8443}
        service_spec = {"selector": {"app": "noop"}, "ports": [port]}
        kube.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"both.pem": both.decode()}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service_spec},
        )
        kube.wait_pods_ready(home, count=1)
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        hook = {
            "name": "noop.bench.meshproof.io",
            "clientConfig": {
                "service": {"name": "noop", "namespace": home, "path": "/"},
                "caBundle": base64.b64encode(both[both.index(CERTIFICATE) :]).decode(),
            },
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SPACES[NOOP]}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
        kube.apply({**kind, "metadata": {"name": HOOK}, "webhooks": [hook]})
        try:
            yield
        finally:
            kube.delete(kind["apiVersion"], kind["kind"], HOOK)


def pod() -> dict[str, Any]:
    container = {"name": "app", "image": "none", "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "bench-"},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }


def containers(core: Any, space: str) -> int:
    made = core.create_namespaced_pod(space, pod(), dry_run="All")
    return len(made.spec.containers) + len(made.spec.init_containers or ())


def measure(core: Any, rounds: int, seed: int) -> dict[str, Any]:
    source = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in SPACES}
    for number in range(rounds + 20):
        for name in source.sample(list(SPACES), len(SPACES)):
            started = time.perf_counter()
            core.create_namespaced_pod(SPACES[name], pod(), dry_run="All", _preload_content=False)
            if number >= 20:
                times[name].append((time.perf_counter() - started) * 1000)
    return report(times, seed)


def report(times: Mapping[str, list[float]], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"rounds": len(times[PLAIN])}
    for name, values in times.items():
        ordered = sorted(values)
        found[name] = {
            "p50_ms": round(statistics.median(values), 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)], 2),
        }
    for name in (NOOP, REFMESH):
        gaps = [mine - plain for mine, plain in zip(times[name], times[PLAIN], strict=True)]
        span = bootstrap_interval(gaps, seed=seed)
        found[f"{name} adds"] = {
            "ms": round(span.estimate, 2),
            "95 %": [round(span.low, 2), round(span.high, 2)],
            "p50_ms": round(statistics.median(gaps), 2),
            "p99_ms": round(sorted(gaps)[int(len(gaps) * 0.99)], 2),
        }
    adds = found[f"{REFMESH} adds"]
    adds |= {"p50_limit_ms": LIMIT_P50_MS, "p50_met": adds["p50_ms"] <= LIMIT_P50_MS,
             "p99_limit_ms": LIMIT_P99_MS, "p99_met": adds["p99_ms"] <= LIMIT_P99_MS}  # fmt: skip
    found["ratio refmesh / no-op"] = round(adds["ms"] / found[f"{NOOP} adds"]["ms"], 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kubeconfig", type=Path, required=True, help="a cluster with refmesh installed")
    parser.add_argument("--image", required=True, help="the product's image, as loaded into the cluster")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    kube = Kube.connect(given.kubeconfig)
    core = client.CoreV1Api(config.new_client_from_config(str(given.kubeconfig)))
    with ExitStack() as stack:
        stack.callback(kube.close)
        stack.enter_context(kube.namespace(SPACES[PLAIN]))
        stack.enter_context(kube.namespace(SPACES[NOOP]))
        stack.enter_context(kube.namespace(SPACES[REFMESH], labels={"istio-injection": "enabled"}))
        stack.enter_context(noop_webhook(kube, given.image))
        eventually(
            lambda: containers(core, SPACES[REFMESH]) == 3 and containers(core, SPACES[NOOP]) == 1,
            timeout=20,
            what="both webhooks answer",
        )
        print(json.dumps(measure(core, given.rounds, given.seed), indent=1))


if __name__ == "__main__":
    main()
