"""The signing service: gRPC over TLS, one method, a token in, a certificate chain out.

Everything an unauthenticated peer can send is bounded: message and header size by gRPC options, the token's and the
CSR's length before they are parsed, and how many are under way, in all and from one address. Signing (about 0.2 ms)
runs on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter as Counted
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import grpc.aio
from prometheus_client import Counter, Histogram

from refmesh.ca import messages, wire
from refmesh.ca.signing import BadRequest, IssuerExpired
from refmesh.ca.tokens import Unauthenticated, identity_of_token
from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import KubeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refmesh.ca.authority import Authority
    from refmesh.kubeclient import Kube

__all__ = ["Service", "replacement", "start"]

log = logging.getLogger(__name__)

_SIGNED = Counter("refmesh_ca_csr_total", "Certificate requests by outcome", ["result"])
_SECONDS = Histogram("refmesh_ca_sign_seconds", "Time from a certificate request to its answer")

_MAX_AT_ONCE = 200
"""Requests under way, of all connections together; more are told at once to come again, which agents do.

What counts is here as a whole: gRPC's own limit counts streams from their headers on, and would let whoever opens some
and sends nothing keep everybody out.
"""
_MAX_OF_AN_ADDRESS = 16
"""Of these, from one address: a pod needs one at a time, but some networks show all pods of a Node as one."""
RENEW_SERVER_SECONDS = 12 * 3600.0
_HANDSHAKES_SECONDS = 0.05
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_metadata_size", 32 * 1024),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.so_reuseport", 0),
)


class Service:
    """A running signing port."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    async def close(self) -> None:
        """Stop; requests under way get a second to finish."""
        await self._server.stop(grace=1.0)


async def start(
    *, authority: Authority, kube: Kube, names: Sequence[str], host: str, port: int, trust_domain: str
) -> Service:
    """Serve `CreateCertificate` on host:port (0: any free port). Raises `EnvironmentProblem` if the port is taken."""
    server = grpc.aio.server(options=_OPTIONS)
    handler = _Handler(authority, kube, trust_domain)
    server.add_generic_rpc_handlers((handler,))
    try:
        bound = server.add_secure_port(f"{host}:{port}", _credentials(authority, names))
    except RuntimeError as error:
        raise EnvironmentProblem(
            f"the CA's port {port} cannot be opened: {error}", fix="choose another --ca-port"
        ) from error
    await server.start()
    return Service(server, bound)


def _credentials(authority: Authority, names: Sequence[str]) -> grpc.ServerCredentials:
    """Credentials that are made anew every 12 hours and with each change of the issuer, without a restart."""
    issued_at, signed_by = asyncio.get_running_loop().time(), authority.trust.generation
    loop = asyncio.get_running_loop()

    def configuration() -> grpc.ServerCertificateConfiguration:
        chain, key = authority.server_credentials(names)
        return grpc.ssl_server_certificate_configuration([(key, chain)])

    def fetch() -> Any:
        # gRPC calls this for each new connection; None keeps what is there, which the stubs do not know
        nonlocal issued_at, signed_by
        if loop.time() - issued_at < RENEW_SERVER_SECONDS and signed_by == authority.trust.generation:
            return None
        generation = authority.trust.generation
        try:
            fresh = configuration()
        except IssuerExpired:
            return None  # tried again at the next connection
        issued_at, signed_by = loop.time(), generation
        return replacement(fresh)

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=False)


def replacement(configuration: Any) -> Any:
    """Pass on what a port serves with from now on; only for gRPC's question, and only where it is really new.

    gRPC frees what it served with although a handshake of another thread may be about to take it, and dies of it
    (grpc#36693). While it waits for the answer no handshake passes this question, and those that did are soon over.
    """
    time.sleep(_HANDSHAKES_SECONDS)
    return configuration


class _Crowded(Exception):
    """There is no place for this request now."""


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Routes the one method there is."""

    def __init__(self, authority: Authority, kube: Kube, trust_domain: str) -> None:
        self._authority, self._kube, self._trust_domain = authority, kube, trust_domain
        self._under_way = Counted[str]()
        """Requests by the address that they come from."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of the called method; None makes gRPC answer UNIMPLEMENTED."""
        if handler_call_details.method != messages.METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(self._create_certificate)

    async def _create_certificate(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        token, address = bearer_token(context.invocation_metadata()), context.peer().rpartition(":")[0]
        with _SECONDS.time():
            try:
                identity, answer = await self._answer(request, token, address)
            except _Crowded:
                _SIGNED.labels("too many").inc()
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are under way; come again")
            except Unauthenticated as error:
                _SIGNED.labels("unauthenticated").inc()
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            except (BadRequest, wire.Malformed) as error:
                _SIGNED.labels("invalid").inc()
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except IssuerExpired as error:
                _SIGNED.labels("expired").inc()
                log.warning("nothing was signed: %s", error)
                await context.abort(grpc.StatusCode.UNAVAILABLE, error.problem)
            except (KubeError, aiohttp.ClientError, TimeoutError) as error:
                _SIGNED.labels("unavailable").inc()
                log.warning("the API server could not review a token: %s", error)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the token cannot be reviewed now")
        _SIGNED.labels("signed").inc()
        log.info("signed a certificate for %s", identity)
        return answer.encode()

    @contextlib.contextmanager
    def _place(self, address: str) -> Iterator[None]:
        """One of the places for requests under way. Raises `_Crowded`."""
        if self._under_way.total() >= _MAX_AT_ONCE or self._under_way[address] >= _MAX_OF_AN_ADDRESS:
            raise _Crowded
        self._under_way[address] += 1
        try:
            yield
        finally:
            self._under_way[address] -= 1
            self._under_way += Counted()  # forgets those that have none

    async def _answer(self, request: bytes, token: str, address: str) -> tuple[str, messages.CertificateResponse]:
        message = messages.CertificateRequest.decode(request)
        caller = await identity_of_token(self._kube, token, self._trust_domain, self._place(address))
        generation = self._authority.trust.generation
        chain = self._authority.sign(message.csr, caller.identity, message.validity_seconds, caller.pod)
        return caller.identity, messages.CertificateResponse(chain, generation)


def bearer_token(metadata: Any) -> str:
    """Return the token of `authorization: Bearer …`, or an empty string."""
    for key, value in metadata or ():
        if key == "authorization" and isinstance(value, str):
            with contextlib.suppress(ValueError):
                scheme, token = value.split(" ", 1)
                if scheme.lower() == "bearer":
                    return token.strip()
    return ""
