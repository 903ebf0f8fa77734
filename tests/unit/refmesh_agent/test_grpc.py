"""Sessions driven by a real HTTP/2 client over a socket pair."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.events
import pytest

from refmesh.agent.grpc import Session, frame

METHOD = "/a.B/C"
HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", METHOD), (":authority", "x")]


@contextlib.contextmanager
def served(
    on_message: Callable[[Session, int, bytes], None], on_closed: Callable[[Session, int], None]
) -> Iterator[tuple[h2.connection.H2Connection, socket.socket]]:
    """A client's connection to a session, which has ended afterwards."""
    near, far = socket.socketpair()
    near.settimeout(10)
    session = Session(far, on_message, methods=[METHOD], on_closed=on_closed)
    serving = threading.Thread(target=session.serve, daemon=True)
    serving.start()
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    with near:
        yield client, near
        near.shutdown(socket.SHUT_WR)
        serving.join(10)
    assert not serving.is_alive()


def reset(client: h2.connection.H2Connection) -> None:
    client.reset_stream(1)


def finish(client: h2.connection.H2Connection) -> None:
    client.send_data(1, frame(b"last"), end_stream=True)


def compress(client: h2.connection.H2Connection) -> None:
    client.send_data(1, b"\1" + frame(b"")[1:])


@pytest.mark.parametrize("end", [reset, finish, compress, lambda _client: None])
def test_an_ended_stream_is_told_once_while_others_may_send(end: Callable[[h2.connection.H2Connection], None]) -> None:
    blocked: list[bool] = []

    def on_closed(session: Session, stream: int) -> None:
        # Whoever is told may wait for a lock of its own, whose holder sends just then.
        sender = threading.Thread(target=session.send, args=(stream, b"late"), daemon=True)
        sender.start()
        sender.join(20)
        blocked.append(sender.is_alive())

    with served(lambda *_: None, on_closed) as (client, near):
        client.send_headers(1, HEADERS)
        near.sendall(client.data_to_send())
        while not any(isinstance(one, h2.events.ResponseReceived) for one in client.receive_data(near.recv(65536))):
            pass
        end(client)
        near.sendall(client.data_to_send())
    assert blocked == [False]


def test_a_stream_that_is_reset_at_once_leaves_the_others_alone() -> None:
    got: list[tuple[int, bytes]] = []
    with served(lambda _, stream, message: got.append((stream, message)), lambda *_: None) as (client, near):
        client.send_headers(1, HEADERS)
        client.send_data(1, frame(b"one"))
        client.reset_stream(1)
        client.send_headers(3, HEADERS)
        client.send_data(3, frame(b"other"))
        near.sendall(client.data_to_send())
    assert got == [(3, b"other")]
