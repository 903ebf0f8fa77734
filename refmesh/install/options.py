"""What a user can choose at install: profiles, `--set` values, and their check."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from refmesh.api.log_format import format_problem
from refmesh.errors import UsageProblem
from refmesh.injector.containers import secret_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NAMESPACE", "NODE_NAMESPACE", "PROFILES", "Options", "parse", "seconds"]

NAMESPACE = "refmesh-system"
NODE_NAMESPACE = "refmesh-node"
"""Of the agents on the nodes, which no profile but the privileged lets in; the control plane stays restricted."""
PROFILES = ("minimal", "default", "demo")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MIN_TTL, _MAX_TTL = 60, 30 * 86_400
_CHOICES = {
    "log_level": ("debug", "info", "warning", "error"),
    "outbound_traffic_policy": ("ALLOW_ANY", "REGISTRY_ONLY"),
    "failure_policy": ("Fail", "Ignore"),
    "gateways": ("on", "off"),
    "ingress_gateway": ("on", "off"),
    "access_log": ("on", "off"),
    "access_log_encoding": ("JSON", "TEXT"),
    "tracing": ("on", "off"),
    "trace_b3": ("on", "off"),
    "sidecar": ("auto", "native", "classic"),
    "capture": ("pod", "node"),
    "addons_prometheus": ("on", "off"),
}
_WORDS = {"true": "on", "false": "off"}
_NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_IMAGE = r"[a-z0-9](?:[a-zA-Z0-9._:/@-]{0,510}[a-zA-Z0-9])?"


@dataclass(frozen=True)
class Options:
    """Every choice with its default. The field names are the keys of `--set`."""

    profile: str = "default"
    """minimal, default or demo: how much the control plane asks for, and how much it logs."""
    trust_domain: str = "cluster.local"
    log_level: str = "info"
    certificate_ttl: str = "24h"
    """Lifetime of workload certificates, unless a pod asks for another one."""
    max_certificate_ttl: str = "24h"
    """The longest lifetime that is signed."""
    cpu: str = "50m"
    memory: str = "96Mi"
    outbound_traffic_policy: str = "ALLOW_ANY"
    """ALLOW_ANY, or REGISTRY_ONLY: workloads may call Services and hosts of ServiceEntries, and nothing else."""
    replicas: str = "1"
    """Control planes. All of them serve proxies; one at a time, chosen by a Lease, writes statuses."""
    access_log: str = "on"
    """on or off: whether proxies log accesses, unless a Telemetry wants it otherwise."""
    access_log_encoding: str = "JSON"
    """JSON or TEXT."""
    access_log_format: str = ""
    """In Envoy's words: a line with TEXT, an object of texts with JSON. Without, refmesh's own."""
    tracing: str = "on"
    """on or off: whether proxies take part in traces at all."""
    trace_sampling: str = "1"
    """Percentage of the traces begun in the mesh that are recorded, unless a Telemetry wants another one."""
    trace_b3: str = "off"
    """on or off: whether B3's headers are read and written beside W3C's. It costs each request a little."""
    trace_collector: str = ""
    """host:port of a collector that takes OTLP over gRPC; without, the control plane keeps the latest traces."""
    gateways: str = "on"
    """off: no traffic from outside is served, and the control plane may neither create workloads nor read Secrets."""
    ingress_gateway: str = "off"
    """on: a gateway workload that Istio's Gateways select by `istio: ingressgateway`. Gateway API needs none."""
    sidecar: str = "auto"
    """native: the proxy is an init container that goes on, which Kubernetes has since 1.29. classic: a container like
    the application's. auto: native where the cluster has it (and where none is asked, as by --dry-run)."""
    capture: str = "pod"
    """pod: an init container of each pod, with NET_ADMIN, captures its traffic. node: an agent on every node does it,
    the one privileged thing then, and injected pods fit the restricted Pod Security profile."""
    addons_prometheus: str = "off"
    """on: a Prometheus that scrapes control plane, proxies and gateways. In no profile: it is an image of its own, and
    whether the nodes can have that is known only when they try."""
    addons_prometheus_image: str = "prom/prometheus:v3.14.0"
    image_pull_secrets: str = ""
    """Names of Secrets, joined by commas, with which refmesh's own images are pulled: by the control plane, agents,
    gateways and injected pods. Each is looked for in the pod's own namespace."""
    failure_policy: str = "Fail"
    """What becomes of pods that opted in while no injector answers: Fail refuses them, Ignore lets them in as they
    are, without a proxy."""

    @property
    def pull_secrets(self) -> tuple[str, ...]:
        """Their names, one by one."""
        return secret_names(self.image_pull_secrets)


_BY_PROFILE = {
    "minimal": Options(profile="minimal", log_level="warning", cpu="10m", memory="64Mi", tracing="off"),
    "default": Options(),
    "demo": Options(
        profile="demo",
        log_level="debug",
        cpu="10m",
        memory="64Mi",
        trace_sampling="100",
        trace_b3="on",
        ingress_gateway="on",
    ),
}


def parse(profile: str | None, settings: Sequence[str]) -> Options:
    """Combine a profile with `key=value` settings. Raises `UsageProblem` that names the key."""
    values = dict(_split(setting) for setting in settings)
    if profile is not None:
        values.setdefault("profile", profile)
    chosen = values.pop("profile", "default")
    if chosen not in _BY_PROFILE:
        raise UsageProblem(f"There is no profile {chosen!r}.", fix=f"Choose one of {', '.join(PROFILES)}.")
    known = {field.name for field in fields(Options)}
    for key in values:
        if key not in known:
            raise UsageProblem(f"There is no setting {key!r}.", fix=f"Choose one of {', '.join(sorted(known))}.")
    options = replace(_BY_PROFILE[chosen], **values)
    for key, allowed in _CHOICES.items():
        value = getattr(options, key)
        if "on" in allowed and value in _WORDS:
            value = _WORDS[value]
            options = replace(options, **{key: value})
        if value not in allowed:
            raise UsageProblem(f"{key}={value!r} is no choice.", fix=f"Choose {' or '.join(allowed)}.")
    if not (options.replicas.isascii() and options.replicas.isdigit() and 1 <= int(options.replicas[:4]) <= 100):
        raise UsageProblem(
            f"replicas={options.replicas!r} is no number of replicas.", fix="Give a number from 1 to 100."
        )
    _check_gateways(options)
    _check_observation(options)
    _check_images(options, values)
    for key in ("certificate_ttl", "max_certificate_ttl"):
        value = getattr(options, key)
        if not _MIN_TTL <= seconds(value) <= _MAX_TTL:
            raise UsageProblem(
                f"{key}={value} is out of bounds.", fix=f"Choose {_MIN_TTL}s to {_MAX_TTL // 86_400} days, such as 10m."
            )
    if seconds(options.certificate_ttl) > seconds(options.max_certificate_ttl):
        raise UsageProblem(
            f"certificate_ttl={options.certificate_ttl} is above max_certificate_ttl={options.max_certificate_ttl}.",
            fix="Raise the second one, too.",
        )
    return options


def _check_gateways(options: Options) -> None:
    """Raises `UsageProblem` for a gateway that nothing would make."""
    if options.ingress_gateway == "on" and options.gateways == "off":
        raise UsageProblem("ingress_gateway=on needs gateways.", fix="Give --set ingress_gateway=off, too.")


def _check_observation(options: Options) -> None:
    """Raises `UsageProblem` for a setting of access logs or traces that cannot be put in force."""
    if options.access_log_format:
        problem = format_problem(options.access_log_format, as_json=options.access_log_encoding == "JSON")
        if problem:
            raise UsageProblem(
                f"access_log_format {problem}.",
                fix="Write a line such as '%REQ(:PATH)% %RESPONSE_CODE%' and access_log_encoding=TEXT, "
                'or an object such as {"path": "%REQ(:PATH)%"}.',
            )
    sampling = options.trace_sampling
    if not re.fullmatch(r"\d{1,3}(\.\d{1,4})?", sampling) or float(sampling) > 100:
        raise UsageProblem(f"trace_sampling={sampling!r} is no percentage.", fix="Give a number from 0 to 100.")
    if options.trace_collector and not re.fullmatch(
        r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}):[1-9]\d{0,4}", options.trace_collector
    ):
        raise UsageProblem(
            f"trace_collector={options.trace_collector!r} is no address.",
            fix="Give host:port, such as otel-collector.observability.svc.cluster.local:4317.",
        )


def _check_images(options: Options, given: Mapping[str, str]) -> None:
    """Raises `UsageProblem` for an image that is none, or that nothing would run, and for Secrets that cannot be."""
    for name in options.pull_secrets:
        if not re.fullmatch(_NAME, name):
            raise UsageProblem(
                f"image_pull_secrets: {name!r} is no name of a Secret.", fix="Give names without namespaces, as a,b."
            )
    image = options.addons_prometheus_image
    if not re.fullmatch(_IMAGE, image):
        raise UsageProblem(f"addons.prometheus.image={image!r} is no image.", fix="Give a name such as prometheus:v3.")
    if "addons_prometheus_image" in given and options.addons_prometheus == "off":
        raise UsageProblem(
            "addons.prometheus.image is given, and Prometheus is not asked for.",
            fix="Give --set addons.prometheus=true, too.",
        )


def seconds(duration: str) -> int:
    """Seconds of a duration such as 90s, 10m, 24h or 7d. Raises `UsageProblem`."""
    match = re.fullmatch(r"(\d{1,7})([smhd])", duration)
    if match is None:
        raise UsageProblem(f"{duration!r} is no duration.", fix="Write a whole number and s, m, h or d, such as 10m.")
    return int(match[1]) * _UNITS[match[2]]


def _split(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not equals or not key or not value:
        raise UsageProblem(f"--set {setting!r} is not of the form key=value.")
    # istioctl's users write trustDomain and meshConfig.outboundTrafficPolicy.mode; both spellings are understood
    key = re.sub(r"^(meshConfig\.)?(outboundTrafficPolicy)\.mode$", r"\2", key)
    key = key.removeprefix("meshConfig.")
    key = key.replace(".", "_") if key.startswith("addons.") else key
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key), value
