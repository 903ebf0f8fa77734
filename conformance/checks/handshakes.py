"""How a stranger's handshake looks when it means a pod's proxy and not an application that speaks TLS itself."""

from __future__ import annotations

from dataclasses import replace

from conformance.adapters.base import Unsupported
from conformance.context import Context, Pod
from fixtures.workloads.traffic import Batch

__all__ = ["account_of", "own_port", "to_proxy"]

_HTTP = ("http/1.1",)


def account_of(pod: Pod) -> str:
    """A pod's service account."""
    return str(pod.object["spec"].get("serviceAccountName", "default"))


def to_proxy(ctx: Context, pod: Pod, batch: Batch) -> Batch:
    """The batch with the marks by which the pod's proxy takes a TLS connection for the mesh's own.

    Where plaintext is accepted too, proxies hand an application's TLS on unopened. Istio and Kuma know their own by a
    protocol (ALPN), Linkerd by the server name; the adapter says which.
    """
    proxy = ctx.adapter.proxy
    if proxy is None:
        return batch
    if proxy.alpn:
        batch = replace(batch, alpn=(*proxy.alpn, *(() if batch.protocol == "tls" else _HTTP)))
    if proxy.named_by_identity:
        identity = ctx.adapter.identity(pod.namespace, account_of(pod))
        if not isinstance(identity, Unsupported):
            batch = replace(batch, sni=identity)
    return batch


def own_port(ctx: Context) -> int | None:
    """The port of a pod's address at which its proxy must be met, because it leaves the application's ports alone.

    So does one that runs outside of the pod, as ztunnel, and Consul's where it is permissive: it takes the mesh's TLS
    at a port of its own, and hands on unopened what comes to the application's. Most sidecars take both: None.
    """
    proxy = ctx.adapter.proxy
    return proxy.inbound_port if proxy is not None and (proxy.shakes_there or not proxy.container) else None
