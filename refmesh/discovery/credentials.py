"""The control plane's own TLS credentials for discovery: served by the mesh's CA, renewed without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import grpc

from refmesh.ca.service import replacement
from refmesh.errors import RefmeshError

__all__ = ["Issuer", "RenewedCredentials"]

log = logging.getLogger(__name__)

_RENEW_SECONDS, _RETRY_SECONDS = 12 * 3600.0, 60.0


class Issuer(Protocol):
    """What is needed of the CA."""

    def server_credentials(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Certificate chain and key, PEM."""
        ...

    def trust_bundle_pem(self) -> bytes:
        """The roots, PEM."""
        ...


class RenewedCredentials:
    """gRPC server credentials that ask for a client certificate, replaced every twelve hours and when trust changes."""

    def __init__(self, issuer: Issuer, names: Sequence[str]) -> None:
        self._issuer = issuer
        self._names = names
        self._fresh: Any = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Any:
        """The credentials to serve with. gRPC asks for a new certificate at each handshake."""
        self._task = asyncio.create_task(self._renew(), name="renew discovery certificate")
        return grpc.dynamic_ssl_server_credentials(self._make(), self._fetch, True)

    def close(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()

    def _make(self) -> Any:
        chain, key = self._issuer.server_credentials(self._names)
        return grpc.ssl_server_certificate_configuration([(key, chain)], self._issuer.trust_bundle_pem())

    def _fetch(self) -> Any:
        fresh, self._fresh = self._fresh, None
        return replacement(fresh) if fresh is not None else None

    async def _renew(self) -> None:
        wait = _RENEW_SECONDS
        while True:
            await asyncio.sleep(wait)
            wait = _RENEW_SECONDS if self.renew() else _RETRY_SECONDS

    def renew(self) -> bool:
        """Make them anew: the next handshake gets them. False if that cannot be done now; what is there goes on."""
        try:
            self._fresh = self._make()
        except (RefmeshError, ValueError) as error:
            log.warning("the discovery port's certificate cannot be renewed: %s", error)
            return False
        return True
