"""Health checks of the application, done by the agent so that they work whatever mTLS mode is in force.

The kubelet has no mesh certificate. The injector therefore points its probes at the agent's port, which no capture rule
touches; the agent then does the probe the user wrote, from the address that goes straight to the application.
Only probes that were in the pod's spec can be asked for; requests, their time and their number are bounded, and whoever
holds many connections cannot keep the kubelet out.

`POST /quitquitquit` from the pod's own loopback ends the sidecar, as at Istio's agent: a classic one would keep the pod
of a Job running.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from refmesh.agent import admin
from refmesh.agent.accepting import accept_in_thread
from refmesh.agent.pages import Place, get
from refmesh.agent.places import AGENT_PORT, INBOUND_SOURCE
from refmesh.agent.scrape import METRICS_PATH, PATIENCE_HEADER, Scraper
from refmesh.agent.settings import log
from refmesh.ca import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["QUIT_PATH", "ProbeServer", "perform"]

QUIT_PATH = "/quitquitquit"

_MAX_HEADER_BYTES = 8192
_MAX_BODY_BYTES = 10 << 10
_FRAMING = ("connection", "content-length", "transfer-encoding", "trailer")
_MAX_AT_ONCE = 32
_MAX_OF_ONE_ADDRESS = 16
_HEAD_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_HEALTH_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = 1


def perform(probe: dict[str, Any], pod_ip: str, *, source: str = INBOUND_SOURCE) -> tuple[int, str]:
    """Do one probe; return an HTTP status that tells the kubelet how it went, and a word of explanation."""
    kind = next((kind for kind in ("httpGet", "tcpSocket", "grpc") if kind in probe), "")
    if not kind:
        return 500, "the probe has none of httpGet, tcpSocket, grpc"
    spec = probe[kind]
    address = (spec.get("host") or pod_ip, int(spec["port"]))
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if kind == "httpGet":
            return _http(spec, address, time.monotonic() + timeout, source)
        with socket.create_connection(address, timeout=timeout, source_address=(source, 0)) as connection:
            return (200, "connected") if kind == "tcpSocket" else _grpc(connection, spec)
    except (OSError, ValueError) as error:
        return 503, f"{kind} on port {address[1]}: {error}"


def _http(spec: dict[str, Any], address: tuple[str, int], deadline: float, source: str) -> tuple[int, str]:
    place = Place(*address, str(spec.get("path") or "/"), str(spec.get("scheme", "HTTP")).upper() == "HTTPS")
    host, headers = _headers((str(one["name"]), str(one.get("value") or "")) for one in spec.get("httpHeaders") or ())
    with get(place, headers, deadline, host=host, source=source) as reply:
        # A body that breaks off is a failure, however it began; more of it than the kubelet would read does not matter.
        size = 0
        for piece in reply.body:
            size += len(piece)
            if size > _MAX_BODY_BYTES:
                break
        return reply.status, f"the application answered {reply.status}"


def _headers(given: Iterable[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """What a request calls its host, empty if it does not say so, and its other headers, as the kubelet sends them.

    Names may be repeated. Of Host and User-Agent there can be one; an empty value takes a header out that is there by
    default. Those about the request's own framing are not the user's.
    """
    by_name = dict[str, list[tuple[str, str]]]()
    for name, value in given:
        by_name.setdefault(name.lower(), []).append((name, value))
    host = by_name.pop("host", [("", "")])[0][1]
    for name in _FRAMING:
        by_name.pop(name, None)
    agent = by_name.setdefault("user-agent", [("User-Agent", "kube-probe/refmesh")])
    del agent[1:]
    accept = by_name.setdefault("accept", [("Accept", "*/*")])
    for one in (agent, accept):
        if not one[0][1]:
            one.clear()
    return host, [header for one in by_name.values() for header in one]


def _grpc(connection: socket.socket, spec: dict[str, Any]) -> tuple[int, str]:
    from refmesh.agent.grpc import CallFailed, unary  # imported by then; keeps the tools' start short

    try:
        request = wire.text(1, str(spec.get("service") or ""))
        reply = dict(wire.fields(unary(connection, "probe", _HEALTH_METHOD, request, scheme="http")))
    except CallFailed as failure:
        return 503, f"gRPC health check: {failure}"
    return (200, "serving") if reply.get(1) == _SERVING else (503, f"gRPC health status {reply.get(1, 0)!r}")


class Room:
    """The connections being served. Where there is no room for one more, an older one is closed for it.

    That is one of the address that has the most, so that the kubelet, which has few, gets through whatever others do.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guests: dict[socket.socket, tuple[str, bool]] = {}
        """By connection, in the order of their coming: the address, and whether its request is complete."""
        # Who was closed while the application was asked for it stays until the application has answered.
        self._threads = threading.BoundedSemaphore(2 * _MAX_AT_ONCE)

    def enter(self, connection: socket.socket, address: str) -> None:
        """Take one in, and close another if need be."""
        self._threads.acquire()
        with self._lock:
            held = Counter(address for address, _ in self._guests.values())
            crowd = held[address] >= _MAX_OF_ONE_ADDRESS
            if crowd or len(self._guests) >= _MAX_AT_ONCE:
                mine = (guest for guest, (of, _) in self._guests.items() if of == address or not crowd)
                self._close(min(mine, key=lambda guest: (-held[self._guests[guest][0]], self._guests[guest][1])))
            self._guests[connection] = address, False

    def heard(self, connection: socket.socket) -> None:
        """Note that a request is complete: of one address, those that are not are closed first."""
        with self._lock:
            if connection in self._guests:
                self._guests[connection] = self._guests[connection][0], True

    def leave(self, connection: socket.socket) -> None:
        """Note that one is served."""
        with self._lock:
            self._guests.pop(connection, None)
        self._threads.release()

    def _close(self, guest: socket.socket) -> None:
        del self._guests[guest]
        # its thread is waiting at it, and closes it; or has done so just now
        with contextlib.suppress(OSError):
            guest.shutdown(socket.SHUT_RDWR)


@dataclass
class ProbeServer:
    """Serves `GET /app-health/<container>/<kind>`, `/healthz/ready` and `/stats/prometheus` on the agent's port.

    And `POST /quitquitquit`, to the pod itself.

    Also `/app-lifecycle/<container>/<hook>/<secret>`: anybody may ask for a probe, but only who can read the pod's
    spec, as the kubelet can, knows where its hooks are.
    """

    probes: dict[str, dict[str, Any]]
    pod_ip: str
    scraper: Scraper | None = None
    port: int = AGENT_PORT
    source: str = INBOUND_SOURCE
    quit: Callable[[], None] | None = None
    """Ends the sidecar; None where it ends after the application by itself."""
    _last: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(
        cls, text: str, pod_ip: str, scraper: Scraper | None = None, quit_: Callable[[], None] | None = None
    ) -> ProbeServer:
        """Read the injector's list of probes. Raises ValueError."""
        probes = json.loads(text)
        if not isinstance(probes, dict):
            raise ValueError("REFMESH_PROBES is not a JSON object")  # noqa: TRY004  (a value's fault, not a type's)
        return cls(probes, pod_ip, scraper, quit=quit_)

    def start(self) -> int:
        """Listen and return the port."""
        listener = socket.create_server(("", self.port), backlog=64)
        room = Room()

        def take(connection: socket.socket, address: tuple[str, int]) -> None:
            room.enter(connection, address[0])
            try:
                threading.Thread(target=self._serve, args=(connection, room), name="probe", daemon=True).start()
            except RuntimeError:
                room.leave(connection)
                raise

        accept_in_thread(listener, "probes", take)
        return int(listener.getsockname()[1])

    def _serve(self, connection: socket.socket, room: Room) -> None:
        try:
            with connection:
                method, path, headers = _head(connection, time.monotonic() + _HEAD_SECONDS)
                room.heard(connection)
                connection.settimeout(_ANSWER_SECONDS)
                page, _, query = path.partition("?")
                if self.scraper is not None and (method, page) == ("GET", METRICS_PATH):
                    self.scraper.send(connection, query, headers.get(PATIENCE_HEADER, ""))
                    return
                quits = (method, path) == ("POST", QUIT_PATH)
                status, text = self._may_quit(connection) if quits else self._answer(method, path)
                body = f"{text}\n".encode()
                head = f"HTTP/1.1 {status} .\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
                if quits and status == 200 and self.quit is not None:
                    log("asked to end by the pod itself")
                    self.quit()
        except (OSError, ValueError):
            return  # the caller went away or sent no HTTP; the kubelet counts that by itself
        finally:
            room.leave(connection)

    def _may_quit(self, connection: socket.socket) -> tuple[int, str]:
        # Envoy asks from another address of loopback: what it passes on is not the pod's own word.
        if connection.getpeername()[0] != "127.0.0.1":
            return 403, "only the pod itself may ask for this, at 127.0.0.1"
        if self.quit is None:
            return 200, "this proxy ends after the application by itself"
        return 200, "the proxy ends"

    def _answer(self, method: str, path: str) -> tuple[int, str]:
        if method != "GET":
            return 405, f"only GET, and POST {QUIT_PATH}"
        if path == "/healthz/ready":
            return (200, "ready") if admin.ready() else (503, "the proxy is not ready")
        probe = self.probes.get(path)
        if probe is None:
            return 404, "no such probe"
        status, text = perform(probe, self.pod_ip, source=self.source)
        if self._last.get(path) != status:
            # changes only: a probe comes every few seconds
            self._last[path] = status
            # /app-health/<container>/<kind>, or the like of a hook, whose path has a secret after that
            log(f"probe {'/'.join(path.split('/')[:4])}: {text}")
        return status, text


def _head(connection: socket.socket, deadline: float) -> tuple[str, str, dict[str, str]]:
    """Read one request's head and return its method, path and headers. Raises ValueError or OSError."""
    head = b""
    while b"\r\n\r\n" not in head:
        # The whole head has this long, not each piece of it; 0 would mean not to wait, with another error.
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(4096)
        head += chunk
        if not chunk or len(head) > _MAX_HEADER_BYTES:
            raise ValueError("not an HTTP request")
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("ascii", "replace").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = (line.partition(":") for line in lines)
    return method, path, {name.lower(): value.strip() for name, _, value in headers}
