"""Security: default inbound policies by annotation, and `Server`s with an access policy."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import by_itself, manifest
from conformance.intents import Mode, MtlsMode, MutualTls
from fixtures.workloads.manifests import PORTS

from .base import POLICY, LinkerdSettings, on_namespace, render

by_itself(render, MutualTls)

ACCESS = {Mode.STRICT: "all-authenticated", Mode.PERMISSIVE: "all-unauthenticated"}


@render.register
def _(intent: MtlsMode, settings: LinkerdSettings) -> Rendered | Unsupported:
    """A namespace's mode is its default policy, which its pods take over when they are created; a workload's is live.

    Linkerd's policies are by port, so a workload gets a `Server` for each port that the suite's servers have.
    """
    if not intent.workload:
        if intent.ports:
            return Unsupported("port-level modes need a workload")
        return Rendered(merges=(on_namespace(intent.namespace, "default-inbound-policy", ACCESS[intent.mode]),))
    modes = dict.fromkeys(PORTS.values(), intent.mode) | dict(intent.ports)
    return Rendered(
        objects=tuple(_server(intent.namespace, intent.workload, port, mode) for port, mode in modes.items())
    )


def _server(namespace: str, workload: str, port: int, mode: Mode) -> Manifest:
    spec = {"podSelector": {"matchLabels": {"app": workload}}, "port": port, "accessPolicy": ACCESS[mode]}
    return manifest(f"{POLICY}/v1beta3", "Server", f"{workload}-{port}", namespace, spec)
