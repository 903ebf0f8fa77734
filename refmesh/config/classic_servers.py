"""What the servers of Istio's Gateways end TLS with, and why those that cannot let anybody in do not.

Used to open ports by, to know which Secrets are needed, for the log and for statuses, so that all say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmesh.api.istio_gateway import IstioGateway, Server
from refmesh.config.model import ABSENT, Key, Pod, Snapshot
from refmesh.ingress.names import GATEWAY_LABEL

__all__ = ["Credentials", "classic_gateways", "closed", "closed_servers", "credentials_of", "secrets_of"]

_CA_SUFFIX = "-cacert"


@dataclass(frozen=True)
class Credentials:
    """The Secrets of a server by what they are for: its own certificate, and the CA that clients need one of."""

    certificate: Key
    roots: Key | None = None
    problem: str = ""
    """Why the server cannot be opened: `Secret namespace/name …`."""
    pending: bool = False
    """A Secret was not read yet: the problem is one of the next moments only."""


def classic_gateways(snapshot: Snapshot, pod: Pod) -> list[IstioGateway]:
    """Istio's Gateways that speak to a pod, the oldest first. What a Gateway of Gateway API has is its own."""
    if not pod.router or GATEWAY_LABEL in pod.labels:
        return []
    picked = [
        gateway
        for gateway in snapshot.istio_gateways.values()
        if all(pod.labels.get(key) == value for key, value in gateway.selector)
    ]
    return sorted(picked, key=lambda gateway: gateway.meta.age_key)


def secrets_of(server: Server) -> tuple[str, ...]:
    """The Secrets of a server by name: its certificate's, and where clients need one, one that may have their CA."""
    if not server.credential:
        return ()
    return (server.credential, f"{server.credential}{_CA_SUFFIX}") if server.mutual else (server.credential,)


def credentials_of(snapshot: Snapshot, namespace: str, server: Server) -> Credentials:
    """What a server over TLS is opened with.

    The CA is that of the Secret for it, and of the certificate's own Secret only where the other does not exist, as in
    Istio: what is there and not usable, or not known yet, must not let in the clients of some other CA meanwhile.
    """
    own = (namespace, server.credential)
    problem, pending = _certificate_problem(snapshot, own)
    if not server.mutual:
        return Credentials(own, None, problem, pending)
    beside = (namespace, f"{server.credential}{_CA_SUFFIX}")
    roots = own if snapshot.certificates.get(beside) == ABSENT else beside
    if not problem:
        problem, pending = _roots_problem(snapshot, roots)
    return Credentials(own, roots, problem, pending)


def closed_servers(snapshot: Snapshot) -> set[str]:
    """A sentence for every server that lets nobody in for want of a certificate or a CA, but for those not read yet."""
    return {
        f"Gateway {gateway.name}: spec.servers[{index}] {why}"
        for pod in (snapshot.pods.values() if snapshot.istio_gateways else ())
        for gateway in classic_gateways(snapshot, pod)
        for index, server in enumerate(gateway.servers)
        if (why := closed(snapshot, pod, server))
    }


def closed(snapshot: Snapshot, pod: Pod, server: Server) -> str:
    """Why a server lets nobody in at a pod for want of a certificate or a CA; empty where it does or may soon."""
    if not server.credential:
        return ""
    held = credentials_of(snapshot, pod.namespace, server)
    return f"lets nobody in: {held.problem}" if held.problem and not held.pending else ""


def _certificate_problem(snapshot: Snapshot, key: Key) -> tuple[str, bool]:
    held = snapshot.certificates.get(key)
    if held is None:
        return _unread(key)
    return f"Secret {key[0]}/{key[1]} {held.problem}" if held.problem else "", False


def _roots_problem(snapshot: Snapshot, key: Key) -> tuple[str, bool]:
    held = snapshot.certificates.get(key)
    if held is None:
        return _unread(key)
    why = held.roots_problem or "has no CA certificate for clients (cacert or ca.crt)"
    return "" if held.roots else f"Secret {key[0]}/{key[1]} {why}", False


def _unread(key: Key) -> tuple[str, bool]:
    return f"Secret {key[0]}/{key[1]} has not been read yet", True
