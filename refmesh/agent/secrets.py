"""SDS: Envoy asks for its certificate and its roots on a Unix socket, and gets the new ones when they are renewed.

On the same socket it asks for files that the user mounted (`files`).

Messages of envoy.service.discovery.v3 and envoy.extensions.transport_sockets.tls.v3, encoded by hand (see `wire`); the
tests hold them against the generated classes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from refmesh.agent import files, grpc
from refmesh.agent.accepting import accept_in_thread
from refmesh.agent.settings import log
from refmesh.ca import wire

if TYPE_CHECKING:
    from refmesh.agent.enrolment import Identity

__all__ = ["CERTIFICATE", "METHOD", "ROOTS", "SecretServer", "discovery_response", "read_request"]

METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
CERTIFICATE, ROOTS = "default", "ROOTCA"
_TYPE_URL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True)
class Request:
    """What of a DiscoveryRequest matters here."""

    names: tuple[str, ...]
    nonce: str
    error: str


def read_request(message: bytes) -> Request:
    """Parse a DiscoveryRequest. Raises `wire.Malformed`."""
    names, nonce, error = list[str](), "", ""
    for number, value in wire.fields(message):
        if not isinstance(value, bytes):
            continue
        if number == 3:
            names.append(value.decode(errors="replace"))
        elif number == 5:
            nonce = value.decode(errors="replace")
        elif number == 6:
            error = next(
                (v.decode(errors="replace") for n, v in wire.fields(value) if n == 2 and isinstance(v, bytes)), ""
            )
    return Request(tuple(names), nonce, error)


def certificate_secret(identity: Identity) -> bytes:
    """Return Secret `default`: the key and the chain below the root."""
    pair = _inline(1, identity.chain_pem) + _inline(2, identity.key_pem)
    return wire.text(1, CERTIFICATE) + wire.length_delimited(2, pair)


def roots_secret(identity: Identity) -> bytes:
    """Return Secret `ROOTCA`: the roots that peers are verified against."""
    return wire.text(1, ROOTS) + wire.length_delimited(4, _inline(1, identity.roots_pem))


def _inline(number: int, content: bytes) -> bytes:
    return wire.length_delimited(number, wire.length_delimited(2, content))


def discovery_response(version: str, nonce: str, secrets: list[bytes]) -> bytes:
    """Return a DiscoveryResponse that carries these Secrets."""
    resources = (
        wire.length_delimited(2, wire.text(1, _TYPE_URL) + wire.length_delimited(2, secret)) for secret in secrets
    )
    return wire.text(1, version) + b"".join(resources) + wire.text(4, _TYPE_URL) + wire.text(5, nonce)


@dataclass
class _Stream:
    names: tuple[str, ...] = ()
    sent_version: int = 0
    nonce: int = 0


@dataclass
class SecretServer:
    """Serves one pod's secrets on a Unix socket. Streams that ask before there are secrets wait for them."""

    path: str
    files: files.FileServer = field(default_factory=files.FileServer)
    _identity: Identity | None = None
    _version: int = 0
    _streams: dict[tuple[grpc.Session, int], _Stream] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self) -> None:
        """Listen; a socket left by an earlier container is replaced."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108  (pathlib costs the agent 5 ms of start)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        # The volume belongs to this container alone; the key still is nobody else's business.
        os.chmod(self.path, 0o600)  # noqa: PTH101
        listener.listen(8)
        accept_in_thread(listener, "sds", self._take)

    def publish(self, identity: Identity) -> None:
        """Hand out this identity from now on, and push it to everyone who has an older one."""
        with self._lock:
            self._identity = identity
            self._version += 1
            for (session, stream), state in list(self._streams.items()):
                self._answer(session, stream, state)

    def _take(self, connection: socket.socket, _address: str) -> None:
        methods = (METHOD, files.METHOD)
        session = grpc.Session(connection, self._on_message, methods=methods, on_closed=self._on_closed)
        threading.Thread(target=session.serve, name="sds-session", daemon=True).start()

    def _on_message(self, session: grpc.Session, stream: int, message: bytes) -> None:
        if session.method(stream) == files.METHOD:
            self.files.on_message(session, stream, message)
            return
        try:
            request = read_request(message)
        except wire.Malformed:
            return
        with self._lock:
            state = self._streams.setdefault((session, stream), _Stream())
            if request.error:
                log(f"Envoy rejected a secret: {request.error}")
            if request.names != state.names:
                # a new subscription is answered even if the version is known
                state.names, state.sent_version = request.names, 0
            if self._identity is not None:
                self._answer(session, stream, state)

    def _on_closed(self, session: grpc.Session, stream: int) -> None:
        self.files.on_closed(session, stream)
        with self._lock:
            self._streams.pop((session, stream), None)

    def _answer(self, session: grpc.Session, stream: int, state: _Stream) -> None:
        if self._identity is None or state.sent_version == self._version or not state.names:
            return
        known = {CERTIFICATE: certificate_secret, ROOTS: roots_secret}
        secrets = [known[name](self._identity) for name in state.names if name in known]
        state.sent_version = self._version
        state.nonce += 1
        session.send(stream, discovery_response(str(self._version), str(state.nonce), secrets))
