"""What the traffic client reports of servers that misbehave or are not there."""

import errno
import socket
import time
from collections import Counter

import pytest

from fixtures.workloads.failures import ERRORS
from fixtures.workloads.pod.wire import classify
from fixtures.workloads.traffic import Batch
from tests.unit.workloads.helpers import Echo, reset, running, serving


def slam(peer):
    peer.recv(4096)
    reset(peer)


def leave(peer):
    """Says that it has nothing to say, and reads on: TCP calls it a reset if bytes are unread or come after the end."""
    peer.recv(4096)
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(4096):
        pass


def cut_short(peer):
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def babble(peer):
    peer.recv(4096)
    peer.sendall(b"\xff\xff\xff what is this\r\n\r\n\n" * 5)
    peer.recv(4096)


def endless_head(peer):
    peer.recv(4096)
    while True:
        peer.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000)


def silent(peer):
    while peer.recv(4096):
        pass


@pytest.mark.parametrize(
    ("behave", "protocols", "error"),
    [
        (slam, ("http1", "h2c", "grpc", "tcp"), "reset"),
        (leave, ("http1", "h2c", "grpc", "tcp"), "eof"),
        (cut_short, ("http1",), "eof"),
        (babble, ("http1", "h2c", "grpc"), "protocol"),
        (endless_head, ("http1",), "protocol"),
        (silent, ("http1", "h2c", "grpc", "tcp", "tls"), "timeout"),
        (babble, ("tls",), "tls"),
    ],
)
def test_names_of_errors(client, behave, protocols, error):
    with serving(behave) as port:
        for protocol in protocols:
            scheme = protocol if protocol in {"tcp", "tls"} else "http"
            timeout = 0.5 if error == "timeout" else 20.0
            (found,) = client.batch(Batch(f"{scheme}://127.0.0.1:{port}/", protocol=protocol, timeout=timeout))
            assert found.error == error, (protocol, found)
            assert found.detail
            assert not found.ok
            assert found.status is None


def test_nobody_there(client):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for protocol, scheme in (("http1", "http"), ("grpc", "grpc"), ("tcp", "tcp"), ("tls", "tls"), ("http1", "https")):
        (found,) = client.batch(Batch(f"{scheme}://127.0.0.1:{port}", protocol=protocol))
        assert found.error == "refused"
    (found,) = client.batch(Batch("http://no-such-name.invalid/"))
    assert found.error == "dns"


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.EADDRNOTAVAIL, "unreachable"),
        (errno.EMFILE, "unreachable"),
        (errno.ECONNREFUSED, "refused"),
        (errno.ECONNRESET, "reset"),
        (errno.ECONNABORTED, "reset"),
        (errno.EPIPE, "reset"),
        (errno.ETIMEDOUT, "timeout"),
    ],
)
def test_an_address_to_which_there_is_no_way_is_told_from_one_where_nobody_listens(number, word):
    found = classify(OSError(number, "no"))
    assert found.error == word
    assert found.error in ERRORS
    assert found.detail == f"[Errno {number}] no"


def test_tls_to_a_server_without(client, echo):
    (found,) = client.batch(Batch(f"https://127.0.0.1:{echo.http}/"))
    assert found.error == "tls"


def test_an_answer_without_a_length_ends_with_the_connection(client):
    def until_close(peer):
        peer.recv(4096)
        peer.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"pod":"x"}')

    with serving(until_close) as port:
        found = client.batch(Batch(f"http://127.0.0.1:{port}/", count=2))
    assert [(one.ok, one.pod, one.fresh) for one in found] == [(True, "x", True)] * 2


def test_an_interim_answer_is_not_the_answer(client):
    def hints(peer):
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(hints) as port:
        (found,) = client.batch(Batch(f"http://127.0.0.1:{port}/"))
    assert found.ok
    assert "link" not in found.headers


def test_a_timeout_counts_the_whole_request(client, echo):
    (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=2s", timeout=0.2))
    assert found.error == "timeout"
    assert 0.2 <= found.seconds < 2


@pytest.mark.parametrize("protocol", ["h2c", "grpc"])
@pytest.mark.parametrize("streams", [1, 4])
def test_a_server_that_drains_loses_no_request(client, protocol, streams):
    with running(Echo(linger="2")) as own:
        url = f"http://127.0.0.1:{own.http}/?delay=100ms"
        with client.start(Batch(url, protocol=protocol, count=24, concurrency=4, streams=streams)) as job:
            while not job.records():
                pass
            ended = time.time()
            own.terminate()
            found = job.wait(10)
        assert own.wait() == 0
    assert Counter(record.error for record in found) == {None: 24}
    assert max(record.start for record in found) > ended
