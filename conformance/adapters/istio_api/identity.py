"""Identity: how pods and applications learn of certificates and peers."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.intents import OwnMtls, PeerHeader, ShortCertificates

from .base import render

__all__: list[str] = []


@render.register
def _(intent: PeerHeader) -> Rendered | Unsupported:
    return Rendered(header="x-forwarded-client-cert")


@render.register
def _(intent: OwnMtls) -> Rendered | Unsupported:
    return Rendered(labels={"security.istio.io/tlsMode": "istio"})


@render.register
def _(intent: ShortCertificates) -> Rendered | Unsupported:
    settings = f'{{"proxyMetadata": {{"SECRET_TTL": "{intent.seconds}s"}}}}'
    return Rendered(annotations={"proxy.istio.io/config": settings})
