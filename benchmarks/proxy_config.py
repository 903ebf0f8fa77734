"""What refmesh's generated Envoy configuration costs beside the least that a hand would write for the same hop.

Two pairs of driver and echo on the same cluster, both with an Envoy sidecar on each side, captured by the same rules,
with mutual TLS and HTTP/1.1 kept alive between them. One pair is in the mesh (strict); the other's Envoys have a static
file each: one listener, one route, one cluster, one certificate from disk, no access log, no statistics tags. Blocks
take turns in pairs, and a second arm over the hand-written pair shows what the machine alone makes of equal things.

    meshproof cluster create bench && meshproof refmesh install …
    python benchmarks/proxy_config.py --kubeconfig … --image … --pairs 20
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from fixtures.kube import Kube
from fixtures.workloads import echo_deployment, service
from fixtures.workloads.pod.certificate import make
from load.ground import Arm
from load.latency import run_block
from load.manifests import driver_pod
from load.plan import Plan
from load.ready import wait_ready
from load.remote import Driver
from load.statistics import block_order, bootstrap_interval
from refmesh.agent.places import INBOUND_PORT, OUTBOUND_PORT, PROXY_UID
from refmesh.injector.containers import Config, init_container

GENERATED, MINIMAL, AGAIN = "generated", "hand-minimal", "hand-minimal-again"
CONFIG_DIR, ECHO = "/etc/minimal", 8080
LEVELS = (50.0, 99.0)
LIMIT = 1.05
"""Of the generated configuration's latency, as a ratio to the hand-minimal one's."""


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}


def tls(kind: str, **fields: Any) -> dict[str, Any]:
    # One file holds key and certificate; both sides show it, and both trust it.
    both = {"filename": f"{CONFIG_DIR}/both.pem"}
    common = {
        "tls_certificates": [{"certificate_chain": both, "private_key": both}],
        "validation_context": {"trusted_ca": both},
    }
    config = typed(f"extensions.transport_sockets.tls.v3.{kind}", common_tls_context=common, **fields)
    return {"name": "tls", "typed_config": config}


def listener(port: int, cluster: str, secured: bool) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}
    router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[router],
    )
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
    if secured:
        chain["transport_socket"] = tls("DownstreamTlsContext", require_client_certificate=True)
    return {"name": f"port-{port}", "address": address("0.0.0.0", port), "filter_chains": [chain]}


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def cluster(name: str, host: str, port: int, secured: bool) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address(host, port)}}
    found: dict[str, Any] = {
        "name": name,
        "type": "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if secured:
        found["transport_socket"] = tls("UpstreamTlsContext")
    return found


def minimal_config(namespace: str) -> dict[str, Any]:
    """One file for both sides: out to the echo's pod, in to the application."""
    return {
        "static_resources": {
            "listeners": [listener(OUTBOUND_PORT, "echo", False), listener(INBOUND_PORT, "app", True)],
            "clusters": [
                cluster("echo", f"echo-pod.{namespace}.svc.cluster.local", ECHO, True),
                cluster("app", "127.0.0.1", ECHO, False),
            ],
        }
    }


def with_minimal_sidecar(spec: dict[str, Any], image: str) -> None:
    """Add the capture of an injected pod, and Envoy with the static file."""
    capture = init_container(Config(image=image, root_pem=""), {})
    envoy = {
        "name": "envoy",
        "image": image,
        "restartPolicy": "Always",
        "command": ["envoy", "-c", f"{CONFIG_DIR}/envoy.yaml", "--concurrency", "1", "-l", "warn"],
        "securityContext": {"runAsUser": PROXY_UID, "runAsGroup": PROXY_UID},
        "volumeMounts": [{"name": "minimal", "mountPath": CONFIG_DIR}],
    }
    spec["initContainers"] = [capture, envoy]
    spec.setdefault("volumes", []).extend(
        [
            {"name": "refmesh-run", "emptyDir": {"medium": "Memory"}},
            {"name": "minimal", "secret": {"secretName": "minimal"}},
        ]
    )


def minimal_objects(namespace: str, image: str) -> list[Mapping[str, Any]]:
    files = {"both.pem": make(["bench"]).decode(), "envoy.yaml": yaml.safe_dump(minimal_config(namespace))}
    headless = service("echo-pod", namespace, {"app": "echo"}, {"http": ECHO})
    headless["spec"] |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "minimal", "namespace": namespace},
        "stringData": files,
    }
    found: list[Any] = [secret, headless, *objects(namespace, image, probes=False)]
    for item in found:
        if item["kind"] == "Deployment":
            with_minimal_sidecar(item["spec"]["template"]["spec"], image)
        elif item["kind"] == "Pod":
            with_minimal_sidecar(item["spec"], image)
    return found


def objects(namespace: str, image: str, *, probes: bool) -> list[Any]:
    return [
        *echo_deployment("echo", namespace, image=image, probes=probes),
        service("echo", namespace, {"app": "echo"}, {"http": ECHO}),
        driver_pod("driver", namespace, image=image),
    ]


def strict(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": "STRICT"}},
    }


def measure(kube: Kube, image: str, plan: Plan) -> dict[str, Any]:
    with ExitStack() as stack:
        meshed = stack.enter_context(kube.namespace("bench-generated", labels={"istio-injection": "enabled"}))
        plain = stack.enter_context(kube.namespace("bench-minimal"))
        kube.apply(strict(meshed), *objects(meshed, image, probes=True))
        kube.apply(*minimal_objects(plain, image))
        arms: dict[str, Arm] = {}
        for name, space in ((GENERATED, meshed), (MINIMAL, plain)):
            wait_ready(kube, space, 2, plan.ready_timeout, image)
            driver = stack.enter_context(Driver(kube, space, "driver"))
            arms[name] = Arm(name, driver, f"http://echo.{space}:{ECHO}/")
            run_block(arms[name], 0, plan)  # connections and caches turn warm
        arms[AGAIN] = Arm(AGAIN, arms[MINIMAL].driver, arms[MINIMAL].url)
        pairs: list[dict[str, dict[float, float]]] = []
        for pair, order in enumerate(block_order(list(arms), plan.most_pairs, plan.seed)):
            blocks = [run_block(arms[name], pair, plan) for name in order]
            if not any(block.problem(plan.lag_budget_us) for block in blocks):
                pairs.append({block.arm: block.quantiles() for block in blocks})
            if len(pairs) == plan.pairs:
                break
    return report(pairs, plan.seed)


def report(pairs: Sequence[Mapping[str, Mapping[float, float]]], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"pairs": len(pairs), "limit": LIMIT}
    for arm in (GENERATED, AGAIN):
        for level in LEVELS:
            ratios = [pair[arm][level] / pair[MINIMAL][level] for pair in pairs]
            span = bootstrap_interval(ratios, seed=seed)
            found[f"{arm} / {MINIMAL}, p{level:g}"] = {
                "ratio": round(span.estimate, 3),
                "95 %": [round(span.low, 3), round(span.high, 3)],
                "met": span.estimate <= LIMIT,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kubeconfig", type=Path, required=True, help="a cluster with refmesh installed")
    parser.add_argument("--image", required=True, help="the product's image, as loaded into the cluster")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=200.0)
    given = parser.parse_args()
    kube = Kube.connect(given.kubeconfig)
    try:
        print(json.dumps(measure(kube, given.image, Plan(pairs=given.pairs, rate=given.rate)), indent=1))
    finally:
        kube.close()


if __name__ == "__main__":
    main()
