"""gRPC over HTTP/2 on blocking sockets: one unary call as a client, streaming sessions as a server.

Framing of HTTP/2 is h2's; gRPC's own framing is five bytes before a message. Not a general gRPC library: no
compression, no deadlines on the wire, no flow control beyond what small messages need.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

__all__ = ["CallFailed", "Session", "unary"]

MAX_MESSAGE_BYTES = 1 << 20
_READ_BYTES = 65536


class CallFailed(Exception):
    """A gRPC call ended with an error status, or the peer broke the protocol."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message or f"gRPC status {status}")
        self.status = status


def frame(message: bytes) -> bytes:
    """Prefix a message as gRPC does: not compressed, length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unframe(buffer: bytearray) -> list[bytes]:
    """Take the complete messages out of a buffer, in order. Raises `CallFailed` on compression or excessive length."""
    messages = []
    while len(buffer) >= 5:
        size = int.from_bytes(buffer[1:5], "big")
        if buffer[0] != 0:
            raise CallFailed(12, "compressed gRPC messages are not understood")
        if size > MAX_MESSAGE_BYTES:
            raise CallFailed(8, f"a gRPC message of {size} bytes is too large")
        if len(buffer) < 5 + size:
            break
        messages.append(bytes(buffer[5 : 5 + size]))
        del buffer[: 5 + size]
    return messages


def unary(
    connection: socket.socket,
    authority: str,
    method: str,
    request: bytes,
    metadata: Sequence[tuple[str, str]] = (),
    *,
    scheme: str = "https",
) -> bytes:
    """Make one call on a fresh connection and return the reply's message. The socket's own timeout bounds every wait.

    Raises `CallFailed` for an error status and OSError for a broken connection.
    """
    h2c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    h2c.initiate_connection()
    stream = h2c.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", method),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *metadata,
    ]
    h2c.send_headers(stream, headers)
    body = frame(request)
    # A request larger than the window or a frame would need flow control; what is sent here is a few hundred bytes.
    if len(body) > min(h2c.local_flow_control_window(stream), h2c.max_outbound_frame_size):
        raise CallFailed(3, "the request is too large")
    h2c.send_data(stream, body, end_stream=True)
    connection.sendall(h2c.data_to_send())
    buffer, trailers = bytearray(), dict[str, str]()
    while True:
        data = connection.recv(_READ_BYTES)
        if not data:
            raise CallFailed(14, "the connection ended before the reply")
        try:
            events = _heard(h2c, data)
        except h2.exceptions.ProtocolError as error:
            raise CallFailed(14, f"the peer does not speak HTTP/2: {error}") from error
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                buffer += event.data
                if len(buffer) > MAX_MESSAGE_BYTES:
                    raise CallFailed(8, "the reply is too large")
                h2c.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                trailers |= {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, h2.events.StreamEnded):
                return _reply(buffer, trailers)
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise CallFailed(14, f"the peer ended the call (HTTP/2 error {event.error_code})")
        connection.sendall(h2c.data_to_send())


def _heard(connection: h2.connection.H2Connection, data: bytes) -> list[h2.events.Event]:
    """What the peer's bytes mean. Raises `ProtocolError`."""
    try:
        return connection.receive_data(data)
    except UnicodeError as error:
        raise h2.exceptions.ProtocolError("a header that is no text") from error


def _reply(buffer: bytearray, trailers: dict[str, str]) -> bytes:
    status = trailers.get("grpc-status", "")
    if status != "0":
        detail = unquote(trailers.get("grpc-message", "")) or f"HTTP status {trailers.get(':status')}"
        raise CallFailed(int(status) if status.isdecimal() and len(status) <= 3 else 2, detail)
    messages = unframe(buffer)
    if len(messages) != 1:
        raise CallFailed(13, f"{len(messages)} messages in a unary reply")
    return messages[0]


class Session:
    """The server's side of one HTTP/2 connection: each stream is a bidirectional gRPC stream.

    `serve` runs in its own thread until the peer closes; `send` may be called from any other, whatever locks it holds:
    both callbacks run in the thread of `serve` and without the session's lock, so they may wait for those.
    """

    def __init__(
        self,
        connection: socket.socket,
        on_message: Callable[[Session, int, bytes], None],
        *,
        methods: Sequence[str],
        on_closed: Callable[[Session, int], None] = lambda _session, _stream: None,
    ) -> None:
        self._socket = connection
        self._on_message, self._on_closed, self._methods = on_message, on_closed, methods
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        # h2 is not thread safe, and answers of two threads must not interleave on the socket
        self._lock = threading.RLock()
        self._inbox: dict[int, bytearray] = {}
        self._outbox: dict[int, bytearray] = {}
        self._called: dict[int, str] = {}
        self._ended: list[int] = []

    def method(self, stream: int) -> str:
        """What was called on an open stream; empty for one that is gone."""
        return self._called.get(stream, "")

    def serve(self) -> None:
        """Handle the connection until it ends; errors of the peer end it quietly."""
        try:
            with self._lock:
                self._h2.initiate_connection()
                self._flush()
            while data := self._socket.recv(_READ_BYTES):
                self._receive(data)
        except (OSError, h2.exceptions.ProtocolError):
            return  # the peer went away or misbehaved; it connects anew
        finally:
            self._socket.close()
            with self._lock:
                for stream in list(self._inbox):
                    self._end(stream)
            self._tell_ended()

    def send(self, stream: int, message: bytes) -> None:
        """Send one message on a stream; does nothing if the stream or the connection is gone."""
        with self._lock:
            if stream not in self._inbox:
                return
            self._outbox[stream] += frame(message)
            try:
                self._pump(stream)
                self._flush()
            except (OSError, h2.exceptions.ProtocolError):
                return  # the reading thread sees the same end and cleans up

    def _receive(self, data: bytes) -> None:
        with self._lock:
            events = _heard(self._h2, data)
            # First of all: h2 knows of them already, and refuses to answer what came before.
            gone = {event.stream_id for event in events if isinstance(event, h2.events.StreamReset)}
            for stream in gone:
                self._end(stream)
            events = [event for event in events if getattr(event, "stream_id", None) not in gone]
            messages = [message for event in events for message in self._handle(event)]
            self._flush()
        for stream, message in messages:
            self._on_message(self, stream, message)
        self._tell_ended()

    def _handle(self, event: h2.events.Event) -> list[tuple[int, bytes]]:
        if isinstance(event, h2.events.RequestReceived) and event.stream_id:
            self._open(event.stream_id, {str(name): str(value) for name, value in event.headers or ()}.get(":path", ""))
        elif isinstance(event, h2.events.DataReceived) and event.stream_id:
            stream = event.stream_id
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            if stream in self._inbox:
                self._inbox[stream] += event.data or b""
                try:
                    return [(stream, message) for message in unframe(self._inbox[stream])]
                except CallFailed as failure:
                    self._h2.send_headers(stream, _trailers(failure.status, str(failure)), end_stream=True)
                    self._end(stream)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in [event.stream_id] if event.stream_id else list(self._outbox):
                self._pump(stream)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._inbox:
            self._h2.send_headers(event.stream_id, _trailers(0, ""), end_stream=True)
            self._end(event.stream_id)
        return []

    def _open(self, stream: int, path: str) -> None:
        if path not in self._methods:
            failure = [(":status", "200"), ("content-type", "application/grpc"), *_trailers(12, f"no method {path}")]
            self._h2.send_headers(stream, failure, end_stream=True)
            return
        self._inbox[stream], self._outbox[stream], self._called[stream] = bytearray(), bytearray(), path
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])

    def _pump(self, stream: int) -> None:
        """Send as much of a stream's queue as flow control allows."""
        queue = self._outbox.get(stream)
        while queue:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(queue))
            if room <= 0:
                return
            self._h2.send_data(stream, bytes(queue[:room]))
            del queue[:room]

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)

    def _end(self, stream: int) -> None:
        if self._inbox.pop(stream, None) is not None:
            self._outbox.pop(stream, None)
            self._called.pop(stream, None)
            self._ended.append(stream)

    def _tell_ended(self) -> None:
        ended, self._ended = self._ended, []
        for stream in ended:
            self._on_closed(self, stream)


def _trailers(status: int, message: str) -> list[tuple[str, str]]:
    return [("grpc-status", str(status)), *([("grpc-message", message)] if message else [])]
