"""What holds for the whole mesh. One frozen object, handed to every generator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from refmesh.discovery.observation import Observation

__all__ = ["INBOUND_PORT", "OUTBOUND_PORT", "MeshSettings"]

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006


@dataclass(frozen=True)
class MeshSettings:
    """Names that every resource depends on, and choices of the mesh's operator."""

    trust_domain: str = "cluster.local"
    domain: str = "cluster.local"
    root_namespace: str = "refmesh-system"
    observation: Observation = field(default_factory=Observation)
    """What proxies say of their traffic, unless a Telemetry wants it otherwise."""
    text_log: bool = False
    """Whether access logs are lines of text; they are JSON otherwise."""
    log_format: str = ""
    """Of access logs, in Envoy's words: a line, or a JSON object of texts; empty: refmesh's own."""
    trace_collector: tuple[str, int] | None = None
    """Host and port of a collector of the user's own; spans go to the control plane without."""
    allow_unknown: bool = True
    """Whether workloads may reach hosts that are neither a Service's nor a ServiceEntry's, unless a Sidecar speaks."""
    trace_b3: bool = False
    """Whether B3's headers are read and written beside W3C's, where the mesh traces. It costs each request a little."""

    @property
    def write_b3(self) -> bool:
        """Whether requests name their span in B3's headers, too: without tracing they have none."""
        return self.trace_b3 and self.observation.sampling is not None

    def observing(self, observation: Observation) -> MeshSettings:
        """The same mesh, as seen by proxies of which something else is wanted."""
        return self if observation == self.observation else replace(self, observation=observation)

    def reaching(self, *, unknown: bool) -> MeshSettings:
        """The same mesh, for proxies that may or may not reach hosts that nobody has registered."""
        return self if unknown is self.allow_unknown else replace(self, allow_unknown=unknown)

    def identity(self, namespace: str, service_account: str) -> str:
        """The SPIFFE identity of a service account."""
        return f"spiffe://{self.trust_domain}/ns/{namespace}/sa/{service_account}"
