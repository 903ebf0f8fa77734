"""WebSocket: frames by themselves, and client and echo as processes, with a third party on either side."""

import base64
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads.pod.websocket import (
    CLOSE,
    MAX_MESSAGE,
    PING,
    PONG,
    TEXT,
    BadFrame,
    Frame,
    Reader,
    accept,
    encode,
)
from fixtures.workloads.traffic import Batch


def test_the_answer_to_a_key_is_the_standards_own():
    assert accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, CLOSE, PING, PONG]), st.binary(max_size=300)), max_size=5),
    st.binary(min_size=4, max_size=4) | st.just(b""),
    st.integers(1, 50),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames, mask, piece):
    data = b"".join(encode(opcode, payload, mask) for opcode, payload in frames)
    reader = Reader(masked=bool(mask))
    seen = [frame for at in range(0, len(data), piece) for frame in reader.feed(data[at : at + piece])]
    assert seen == [Frame(*frame) for frame in frames]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_every_way_to_write_a_length(size):
    assert Reader(masked=True).feed(encode(TEXT, b"x" * size, b"abcd")) == [Frame(TEXT, b"x" * size)]


@pytest.mark.parametrize(
    "data",
    [
        encode(TEXT, b"not masked"),
        b"\x01\x80abcd",  # a fragment
        b"\xc1\x80abcd",  # an extension
        b"\x80\x80abcd",  # a continuation
        b"\x81\xff" + (MAX_MESSAGE + 1).to_bytes(8, "big"),
    ],
)
def test_what_is_not_taken_is_refused(data):
    with pytest.raises(BadFrame):
        Reader(masked=True).feed(data)


@given(st.binary(max_size=64))
def test_any_bytes_give_frames_or_a_refusal(data):
    try:
        found = Reader(masked=True).feed(data)
    except BadFrame:
        return
    assert all(len(frame.payload) <= len(data) for frame in found)


def test_the_client_talks_to_the_echo(client, echo):
    url = f"http://127.0.0.1:{echo.http}/chat?x=1"
    batch = Batch(url=url, protocol="websocket", count=3, body="good day", headers={"x-one": "1"})
    first, *others = client.batch(batch)
    assert first.ok
    assert (first.status, first.fresh) == (101, True)
    assert not any(one.fresh for one in others)
    assert first.reply is not None
    assert (first.reply["line"], first.reply["protocol"], first.reply["path"]) == ("good day", "websocket", "/chat?x=1")
    assert first.reply["headers"]["x-one"] == ["1"]
    assert all(one.reply and one.reply["pod"] == "echo-0" for one in others)


def test_an_answer_that_is_no_upgrade_is_the_answer(client, echo):
    (record,) = client.batch(Batch(url=f"http://127.0.0.1:{echo.http}/?codes=403", protocol="websocket"))
    assert record.status == 101  # the echo takes every handshake; a real refusal:
    (record,) = client.batch(Batch(url=f"http://127.0.0.1:{echo.control}/count", protocol="websocket"))
    assert (record.status, record.error, record.ok) == (400, None, False)


def test_the_echo_answers_pings_and_closes(echo):
    key = base64.b64encode(os.urandom(16))
    with socket.create_connection(("127.0.0.1", echo.http), 5) as peer:
        peer.sendall(
            b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: " + key + b"\r\n\r\n" + encode(PING, b"ping-1", b"abcd")
        )
        seen = b""
        while b"ping-1" not in seen:
            seen += peer.recv(4096)
        head, _, rest = seen.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert accept(key) in head
        assert Reader(masked=False).feed(rest) == [Frame(PONG, b"ping-1")]
        peer.sendall(encode(TEXT, "grüß".encode(), b"abcd"))
        reader = Reader(masked=False)
        frames: list[Frame] = []
        while not frames:
            frames = reader.feed(peer.recv(4096))
        assert json.loads(frames[0].payload)["line"] == "grüß"
        peer.sendall(encode(0x2, b"binary is not taken", b"abcd"))
        left = b""
        while piece := peer.recv(4096):
            left += piece
        assert reader.feed(left) == [Frame(CLOSE, (1003).to_bytes(2, "big"))]
