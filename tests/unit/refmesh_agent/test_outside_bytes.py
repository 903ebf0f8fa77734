"""Whatever a peer, an application or Envoy sends is read or refused, and ends."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given
from hypothesis import strategies as st

from refmesh.agent.admin import _unchunk, exchange
from refmesh.agent.grpc import MAX_MESSAGE_BYTES, CallFailed, Session, frame, unary, unframe
from refmesh.agent.pages import replied
from refmesh.agent.probes import _head

METHOD = "/a.B/C"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()


@contextlib.contextmanager
def hearing(*pieces: bytes) -> Iterator[socket.socket]:
    """A connection whose peer has sent this and will send no more."""
    near, far = socket.socketpair()
    near.settimeout(20)
    with near, far:
        for piece in pieces:
            far.sendall(piece)
        far.shutdown(socket.SHUT_WR)
        yield near


def body(connection: socket.socket, deadline: float) -> Iterator[bytes]:
    with replied(connection, deadline) as reply:
        yield from reply.body


def cut(whole: bytes, places: Sequence[int]) -> list[bytes]:
    return [whole[one:two] for one, two in pairwise([0, *sorted(places), len(whole)])]


# ------------------------------------------------------------------------------------------------------------- HTTP/1.1
LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 2", b"HTTP/1.1 99999 ", b"Content-Length: 3\r\n", b"content-length: -1\r\n",
        b"Content-Length: \xb2\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"3\r\nabc\r\n", b"-c;aaaaa\r\n",
        b"-5\r\n",        b"ffffffffffffffff\r\n", b"0x3\r\nabc\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"GET /\r\n",
    ]
)  # fmt: skip
TEXTS = st.lists(LINES | st.binary(max_size=12), max_size=10).map(b"".join)
CHUNKED = b"HTTP/1.1 200 .\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def chunked(pieces: Sequence[bytes]) -> bytes:
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@given(TEXTS)
@example(CHUNKED + b"-1\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")
def test_any_page_is_read_or_refused(text: bytes) -> None:
    with hearing(text) as connection, contextlib.suppress(ValueError, OSError):
        found = b"".join(body(connection, time.monotonic() + 20))
        assert found in text or b"chunked" in text.lower()
        assert b"-1\r\n" not in text.partition(CHUNKED)[2]


@given(PIECES)
def test_a_page_in_chunks_is_read_by_both_readers(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    with hearing(CHUNKED, chunked(pieces)) as connection:
        assert b"".join(body(connection, time.monotonic() + 20)) == whole
    with hearing(CHUNKED, chunked(pieces)) as connection:
        assert exchange(connection, b"GET / HTTP/1.1\r\n\r\n") == (200, whole)


def test_a_page_has_its_time_for_headers_too() -> None:
    with hearing(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9999) as connection, pytest.raises(ValueError, match="headers"):
        next(body(connection, time.monotonic() + 20))
    with hearing(b"HTTP/1.1 200 OK\r\n\r\nbody") as connection, pytest.raises(TimeoutError):
        next(body(connection, time.monotonic() - 1))


@given(TEXTS, st.integers(0, 64))
@example(b"HTTP/1.1 2\r\n\r\n", 64)
@example(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50, 40)
@example(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500, 64)
def test_any_reply_is_read_or_refused_up_to_its_limit(text: bytes, limit: int) -> None:
    with hearing(text) as connection, contextlib.suppress(ValueError, OSError):
        status, body = exchange(connection, b"GET / HTTP/1.1\r\n\r\n", limit=limit)
        assert 100 <= status <= 999
        assert len(body) <= limit


@given(TEXTS)
@example(b"-c;aaaaa\r\n")
def test_any_chunks_come_to_an_end(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(_unchunk(text)) <= len(text)


@given(TEXTS)
def test_any_request_has_a_method_and_a_path_or_is_none(text: bytes) -> None:
    with hearing(text) as connection, contextlib.suppress(ValueError, OSError):
        method, path, _ = _head(connection, time.monotonic() + 20)
        assert text.startswith(f"{method} ".encode()) or not text.isascii()
        assert " " not in method + path
        assert b"\r\n\r\n" in text


def test_a_head_without_end_is_refused() -> None:
    with hearing(b"GET /" + b"x" * 20_000) as connection, pytest.raises(ValueError, match="not an HTTP request"):
        _head(connection, time.monotonic() + 20)


# ----------------------------------------------------------------------------------------------------------------- gRPC
@given(PIECES, st.data())
def test_messages_are_the_same_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frame, messages))
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=5))
    buffer, found = bytearray(), list[bytes]()
    for piece in cut(whole, places):
        buffer += piece
        found += unframe(buffer)
    assert found == messages
    assert not buffer


@given(st.binary(max_size=40) | st.lists(st.binary(max_size=6).map(frame) | st.binary(max_size=3)).map(b"".join))
def test_any_bytes_are_messages_a_beginning_or_refused(text: bytes) -> None:
    buffer = bytearray(text)
    with contextlib.suppress(CallFailed):
        found = unframe(buffer)
        assert b"".join(map(frame, found)) + buffer == text
        assert len(buffer) < 5 or len(buffer) < 5 + int.from_bytes(buffer[1:5], "big") <= 5 + MAX_MESSAGE_BYTES


NAMES = st.sampled_from([b":method", b":path", b":status", b"grpc-status", b"grpc-message", b"content-length", b"te"])
VALUES = st.sampled_from([b"200", b"0", b"7", METHOD.encode(), b"POST", "\u0663".encode(), b"\xff\xfe"])
PAIRS = st.tuples(NAMES | st.binary(max_size=4), VALUES | st.binary(max_size=6))
REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", METHOD.encode()), (b":authority", b"x")]
REPLY = [(b":status", b"200"), (b"content-type", b"application/grpc")]
STREAMS = st.sampled_from([1, 1, 1, 2, 3])


def headers(stream: int, pairs: Sequence[tuple[bytes, bytes]], *flags: str) -> Frame:
    # Nothing is put into the table of earlier headers: frames mean the same wherever they stand.
    block = Encoder().encode([(name, value, True) for name, value in pairs])
    return HeadersFrame(stream, data=block, flags=["END_HEADERS", *flags])


FLAGS = st.lists(st.just("END_STREAM"), max_size=1)
BODIES = st.binary(max_size=8) | st.binary(max_size=8).map(frame)
FRAMES = (
    st.builds(lambda stream, pairs, flags: headers(stream, pairs, *flags), STREAMS, st.lists(PAIRS, max_size=4), FLAGS)
    | st.builds(lambda stream, flags: headers(stream, REQUEST, *flags), STREAMS, FLAGS)
    | st.builds(lambda stream, flags: headers(stream, REPLY, *flags), STREAMS, FLAGS)
    | st.builds(lambda value: headers(1, [(b"grpc-status", value)], "END_STREAM"), VALUES)
    | st.builds(lambda stream, body, flags: DataFrame(stream, body, flags=flags), STREAMS, BODIES, FLAGS)
    | st.builds(RstStreamFrame, STREAMS, st.integers(0, 14))
    | st.builds(WindowUpdateFrame, STREAMS | st.just(0), st.integers(1, 2**31 - 1))
    | st.just(GoAwayFrame(0))
    | st.just(PingFrame(0, b"12345678"))
    | st.just(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
)


TRAFFIC = st.lists(FRAMES.map(Frame.serialize) | st.binary(max_size=12), max_size=8).map(b"".join)


@given(TRAFFIC, st.booleans())
def test_a_session_ends_quietly_whatever_it_hears_and_tells_of_each_stream(traffic: bytes, well_begun: bool) -> None:
    ended: list[int] = []
    heard: list[int] = []

    def on_message(session: Session, stream: int, message: bytes) -> None:
        heard.append(stream)
        session.send(stream, message)

    with hearing(PREFACE if well_begun else b"", traffic) as connection:
        Session(connection, on_message, methods=[METHOD], on_closed=lambda _, stream: ended.append(stream)).serve()
        assert connection.fileno() == -1
    assert len(ended) == len(set(ended))
    assert set(heard) <= set(ended)


GOOD = [headers(1, REPLY), DataFrame(1, frame(b"x")), headers(1, [(b"grpc-status", b"0")], "END_STREAM")]


@given(TRAFFIC)
@example(b"".join(map(Frame.serialize, [*GOOD, GoAwayFrame(0)])))
@example(b"".join(map(Frame.serialize, [headers(1, [*REPLY, (b"x", b"\xff")])])))
@example(b"".join(map(Frame.serialize, [headers(1, [*REPLY, (b"grpc-status", b"9" * 5000)], "END_STREAM")])))
def test_a_call_has_a_reply_or_fails_whatever_it_hears(traffic: bytes) -> None:
    with hearing(SettingsFrame(0).serialize(), traffic) as connection, contextlib.suppress(CallFailed, OSError):
        assert isinstance(unary(connection, "x", METHOD, b"request"), bytes)


def test_a_reply_that_ends_with_the_connection_is_a_reply() -> None:
    with hearing(SettingsFrame(0).serialize(), *map(Frame.serialize, [*GOOD, GoAwayFrame(0)])) as connection:
        assert unary(connection, "x", METHOD, b"request") == b"x"
