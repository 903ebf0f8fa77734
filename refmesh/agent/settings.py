"""What the injector tells the agent, as environment variables."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refmesh.agent.places import RUN_DIR, TOKEN_PATH, is_classic

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "log"]


@dataclass(frozen=True)
class Settings:
    """One sidecar's settings. Durations in seconds."""

    pod: str
    namespace: str
    service_account: str
    pod_ip: str
    root_pem: str
    control_plane: str = "refmesh.refmesh-system.svc"
    """DNS name of the control plane, and the name its certificate must carry."""
    trust_domain: str = "cluster.local"
    ca_port: int = 15012
    ads_port: int = 15011
    app: str = ""
    peer: str = ""
    """Workload, namespace, app and version: how metrics call this pod, and what Envoy tells its peers."""
    concurrency: int = 1
    drain_seconds: int = 5
    """How long connections may still go on when the proxy is told to end."""
    listener_drain_seconds: int = 45
    """How long those may whose listener was changed or taken away, as in Istio; both are in memory for as long."""
    certificate_seconds: int = 0
    probes: str = "{}"
    """JSON: path on the agent's port -> the application's own probe."""
    app_metrics: str = ""
    """JSON: port and path at which the application itself gives metrics."""
    run_dir: str = RUN_DIR
    token_path: str = TOKEN_PATH
    log_level: str = "warning"
    statistics: str = "shown"
    """Which of Envoy's own there are: those that are shown, or all."""
    proxy_type: str = "sidecar"
    """sidecar, or router: a gateway's proxy, which has no application beside it."""
    classic: bool = False
    """Whether the container is one like the application's, which nobody stops after it."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read the variables that the injector wrote. Raises ValueError that names a missing or malformed one."""
        needed = ("POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT", "POD_IP", "REFMESH_ROOT_CERT")
        missing = [name for name in needed if not env.get(name)]
        if missing:
            raise ValueError(f"environment variable {missing[0]} is not set; the injector sets it")
        return cls(
            pod=env["POD_NAME"],
            namespace=env["POD_NAMESPACE"],
            service_account=env["SERVICE_ACCOUNT"],
            pod_ip=env["POD_IP"],
            root_pem=env["REFMESH_ROOT_CERT"],
            control_plane=env.get("REFMESH_CONTROL_PLANE", cls.control_plane),
            trust_domain=env.get("REFMESH_TRUST_DOMAIN", cls.trust_domain),
            ca_port=_whole(env, "REFMESH_CA_PORT", cls.ca_port),
            ads_port=_whole(env, "REFMESH_ADS_PORT", cls.ads_port),
            app=env.get("REFMESH_APP", ""),
            peer=_peer(env),
            app_metrics=env.get("REFMESH_APP_METRICS", ""),
            concurrency=_whole(env, "REFMESH_CONCURRENCY", cls.concurrency),
            drain_seconds=_whole(env, "REFMESH_DRAIN_SECONDS", cls.drain_seconds),
            listener_drain_seconds=_whole(env, "REFMESH_LISTENER_DRAIN_SECONDS", cls.listener_drain_seconds),
            certificate_seconds=_whole(env, "REFMESH_CERTIFICATE_SECONDS", cls.certificate_seconds),
            probes=env.get("REFMESH_PROBES", "{}"),
            run_dir=env.get("REFMESH_RUN_DIR", RUN_DIR),
            token_path=env.get("REFMESH_TOKEN", TOKEN_PATH),
            log_level=env.get("REFMESH_LOG_LEVEL", cls.log_level),
            statistics=env.get("REFMESH_STATISTICS", cls.statistics),
            proxy_type=env.get("REFMESH_PROXY_TYPE", cls.proxy_type),
            classic=is_classic(env),
        )

    @property
    def identity(self) -> str:
        """The SPIFFE identity this pod expects to get."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def resource(self) -> str:
        """What spans are said to come from, in the words of OpenTelemetry's conventions for resources."""
        workload, _, app, version = [*self.peer.split(";"), "", "", ""][:4]
        found = {
            "service.name": f"{app or workload or self.pod}.{self.namespace}",
            "service.version": version,
            "k8s.namespace.name": self.namespace,
            "k8s.pod.name": self.pod,
        }
        return ",".join(f"{key}={value}" for key, value in found.items() if value)

    @property
    def roots_path(self) -> str:
        """Where the roots of the last enrolment are; in memory, and the proxy container's alone."""
        return f"{self.run_dir}/roots.pem"

    @property
    def sds_socket(self) -> str:
        """Path of the Unix socket on which Envoy asks for secrets."""
        return f"{self.run_dir}/sds"

    @property
    def hints_socket(self) -> str:
        """Path of the Unix socket on which Envoy takes the agent's questions to the control plane."""
        return f"{self.run_dir}/hints"

    @property
    def node(self) -> str:
        """Which pod this is, in Envoy's words."""
        return f"{self.proxy_type}~{self.pod_ip}~{self.pod}.{self.namespace}~{self.namespace}.svc.cluster.local"


def _peer(env: Mapping[str, str]) -> str:
    """Fill in what the injector could not know: the namespace, and the name of a pod that has no owner."""
    workload, _, app, version = [*env.get("REFMESH_PEER", "").split(";"), "", "", ""][:4]
    return f"{workload or env['POD_NAME']};{env['POD_NAMESPACE']};{app};{version}"


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name, "")
    if not value:
        return default
    if not value.isdecimal():
        raise ValueError(f"environment variable {name} must be a whole number, not {value!r}")
    return int(value)


def log(sentence: str) -> None:
    """Write one line to the container's log. The logging module would cost every sidecar 2 MB and 7 ms of its start."""
    sys.stderr.write(f"refmesh-agent: {sentence}\n")
    sys.stderr.flush()
