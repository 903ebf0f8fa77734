"""What replicas of the control plane tell each other of the workloads that they signed for: by mutual TLS.

Both ends show the control plane's own identity. The one that asks looks for the Service's name in the certificate,
which the CA gives to no workload; the one that answers looks for the SPIFFE identity.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from refmesh.ca.peer import peer_identity
from refmesh.errors import EnvironmentProblem

if TYPE_CHECKING:
    from refmesh.ca.authority import Authority

__all__ = ["Page", "Replicas"]

Page = Mapping[str, Any]
"""`workloads` and `in_use`, as the ledger gives them."""

_SERVICE, _METHOD = "refmesh.trust.v1.Replicas", "Followed"
_SECONDS = 3.0
_MOST_BYTES = 64 * 1024 * 1024
"""A ledger's largest page: 100,000 pods."""


class Replicas:
    """One replica's share: it answers the others on its discovery port, and asks them on theirs.

    `addresses` gives those of the other replicas, `name` is the one that their certificates must carry.
    """

    def __init__(
        self, authority: Authority, addresses: Callable[[], Iterable[str]], *, port: int = 15011, name: str
    ) -> None:
        self._authority, self._addresses, self._port, self._name = authority, addresses, port, name

    def handler(self) -> Any:
        """The gRPC handler."""
        return grpc.method_handlers_generic_handler(
            _SERVICE, {_METHOD: grpc.unary_unary_rpc_method_handler(self._answer)}
        )

    async def _answer(self, _request: bytes, context: Any) -> bytes:
        if peer_identity(context) != self._authority.identity:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "only replicas of the control plane may ask this")
        ledger = self._authority.ledger
        return json.dumps({"workloads": ledger.rows(), "in_use": ledger.in_use()}).encode()

    async def ask(self) -> list[Page]:
        """What each of the others says. Raises `EnvironmentProblem` if one of them does not answer."""
        addresses = list(self._addresses())
        if not addresses:
            return []
        chain, key = self._authority.server_credentials(())
        credentials = grpc.ssl_channel_credentials(self._authority.trust_bundle_pem(), key, chain)
        return list(await asyncio.gather(*(self._one(address, credentials) for address in addresses)))

    async def _one(self, address: str, credentials: grpc.ChannelCredentials) -> Page:
        options = (
            ("grpc.ssl_target_name_override", self._name),
            ("grpc.max_receive_message_length", _MOST_BYTES),
            ("grpc.enable_http_proxy", 0),
        )
        host = f"[{address}]" if ":" in address else address
        async with grpc.aio.secure_channel(f"{host}:{self._port}", credentials, options) as channel:
            try:
                call: Any = channel.unary_unary(f"/{_SERVICE}/{_METHOD}", None, None)
                return dict(json.loads(await call(b"", timeout=_SECONDS)))
            except grpc.aio.AioRpcError as error:
                raise EnvironmentProblem(
                    f"Replica {address} does not say what it signed: {error.details() or error.code().name}."
                ) from error
