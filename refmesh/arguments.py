"""The control plane's arguments, and what they mean."""

from __future__ import annotations

import argparse
import os
from datetime import timedelta
from pathlib import Path

from refmesh.ca.signing import LeafPolicy
from refmesh.dashboard.server import PORT
from refmesh.discovery.observation import Observation
from refmesh.injector.containers import secret_names

__all__ = ["address", "leaf_policy", "observation", "parse"]


def observation(options: argparse.Namespace) -> Observation:
    """What proxies say of their traffic unless a Telemetry wants it otherwise."""
    return Observation(options.access_log == "on", options.trace_sampling if options.tracing == "on" else None)


def address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535):
        raise ValueError(f"{text!r} is not host:port")
    return host, int(port)


def leaf_policy(options: argparse.Namespace) -> LeafPolicy:
    """The lifetimes of workload certificates."""
    longest = timedelta(seconds=options.max_certificate_seconds)
    default = min(timedelta(seconds=options.certificate_seconds), longest)
    return LeafPolicy(default=default, maximum=longest)


def parse(given: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with its usage."""
    parser = argparse.ArgumentParser(prog="python -m refmesh.server", description="The control plane of refmesh.")
    parser.add_argument("--namespace", default=os.environ.get("POD_NAMESPACE", "refmesh-system"))
    parser.add_argument("--trust-domain", default="cluster.local")
    parser.add_argument("--image", default=os.environ.get("REFMESH_IMAGE", ""), help="image of the sidecars")
    parser.add_argument(
        "--image-pull-secrets", type=secret_names, default=(), help="with which pods of the mesh pull that, as a,b"
    )
    parser.add_argument("--access-log", choices=("on", "off"), default="on", help="access logs of the sidecars")
    parser.add_argument("--access-log-encoding", choices=("JSON", "TEXT"), default="JSON")
    parser.add_argument("--access-log-format", default="", help="in Envoy's words; refmesh's own otherwise")
    parser.add_argument("--tracing", choices=("on", "off"), default="on")
    parser.add_argument("--trace-sampling", type=float, default=1.0, help="percentage of new traces to record")
    parser.add_argument(
        "--trace-b3", choices=("on", "off"), default="off", help="read and write B3 headers beside W3C's"
    )
    parser.add_argument("--trace-collector", type=address, help="host:port to send spans to instead (OTLP, gRPC)")
    parser.add_argument(
        "--outbound-traffic-policy",
        choices=("ALLOW_ANY", "REGISTRY_ONLY"),
        default="ALLOW_ANY",
        help="whether workloads may reach hosts that nobody has registered",
    )
    parser.add_argument("--gateways", choices=("on", "off"), default="on", help="whether Gateways are opened at all")
    parser.add_argument(
        "--ingress-gateway", choices=("on", "off"), default="off", help="a workload for Istio's Gateways to select"
    )
    parser.add_argument("--sidecar", choices=("native", "classic"), default="native", help="form of the sidecars")
    parser.add_argument("--capture", choices=("pod", "node"), default="pod", help="who captures the pods' traffic")
    parser.add_argument("--defect", default="", help="switch on a seeded defect")
    parser.add_argument("--kubeconfig", type=Path, help="outside a pod: how to reach the cluster")
    parser.add_argument("--context", help="context of the kubeconfig")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - it serves the whole cluster
    parser.add_argument("--ads-port", type=int, default=15011)
    parser.add_argument("--ca-port", type=int, default=15012)
    parser.add_argument("--webhook-port", type=int, default=15017)
    parser.add_argument("--http-port", type=int, default=15014)
    parser.add_argument("--page-port", type=int, default=PORT, help="the dashboard's, on loopback")
    parser.add_argument("--drain-seconds", type=float, default=0.0, help="how long to serve on after SIGTERM")
    parser.add_argument("--certificate-seconds", type=int, default=86_400, help="lifetime unless a pod asks otherwise")
    parser.add_argument("--max-certificate-seconds", type=int, default=86_400, help="longest lifetime that is signed")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return parser.parse_args(given)
