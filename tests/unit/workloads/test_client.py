"""The traffic client as a real process against the echo, and against servers that misbehave."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections import Counter

import pytest

from fixtures.workloads.pod.certificate import make
from fixtures.workloads.traffic import Batch, Client, Control, OrderRefused
from reports.errors import EnvironmentProblem, UsageProblem
from tests.unit.workloads.helpers import Echo, Program, running


@contextlib.contextmanager
def serving(behave):
    """A server whose every connection is handled by `behave(socket)` in a thread; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=handle, args=(peer,))
            thread.start()
            threads.append(thread)

    def handle(peer):
        with peer, contextlib.suppress(OSError):
            behave(peer)

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join(10)
            assert not thread.is_alive()


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


URLS = {
    "http1": "http://127.0.0.1:{http}/a?x=1",
    "h2c": "http://127.0.0.1:{http}/a?x=1",
    "grpc": "grpc://127.0.0.1:{grpc}",
    "tcp": "tcp://127.0.0.1:{tcp}",
}


def url(echo, protocol):
    return URLS[protocol].format(http=echo.http, grpc=echo.grpc, tcp=echo.tcp)


@pytest.mark.parametrize("protocol", list(URLS))
@pytest.mark.parametrize("fresh", [False, True])
def test_every_protocol(echo, client, protocol, fresh):
    found = client.batch(Batch(url(echo, protocol), protocol=protocol, count=20, concurrency=4, fresh=fresh))
    assert len(found) == 20
    assert all(record.ok for record in found)
    assert {record.pod for record in found} == {"echo-0"}
    assert {record.version for record in found} == {"v7"}
    assert sum(record.fresh for record in found) == (20 if fresh else 4)
    peers = {record.reply["peer"] for record in found if record.reply}
    assert len(peers) == (20 if fresh else 4)
    assert {record.status for record in found} == ({None} if protocol == "tcp" else {200})
    assert {record.grpc for record in found} == ({0} if protocol == "grpc" else {None})


@pytest.mark.parametrize(("protocol", "alpn"), [("http1", "http/1.1"), ("h2c", "h2")])
def test_through_tls(echo, client, protocol, alpn):
    (found,) = client.batch(Batch(f"https://localhost:{echo.https}/", protocol=protocol))
    assert found.reply["tls"]["alpn"] == alpn
    assert found.reply["tls"]["sni"] == "localhost"


def test_what_is_sent(echo, client):
    batch = Batch(
        f"http://127.0.0.1:{echo.http}/p?q=1",
        method="POST",
        headers={"Host": "shop", "X-One": "1"},
        body="hello",
    )
    for protocol in ("http1", "h2c"):
        (found,) = client.batch(Batch(**{**batch.__dict__, "protocol": protocol}))
        assert found.reply["method"] == "POST"
        assert found.reply["path"] == "/p?q=1"
        assert found.reply["host"] == "shop"
        assert found.reply["headers"]["x-one"] == ["1"]
        assert found.reply["body_bytes"] == 5
        assert found.headers["content-type"] == ["application/json"]


def test_large_bodies_and_large_answers(echo, client):
    for protocol in ("http1", "h2c", "grpc"):
        batch = Batch(f"http://127.0.0.1:{echo.http}/?size=60000", protocol=protocol, body="x" * 900_000, count=2)
        for found in client.batch(batch):
            assert found.ok
            assert found.reply["body_bytes"] >= 900_000
        (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?size=3000000", protocol=protocol))
        assert found.ok
        assert found.reply is None
        assert found.detail == "the answer was too long to keep"


def test_statuses_and_methods(echo, client):
    for protocol in ("http1", "h2c"):
        base = f"http://127.0.0.1:{echo.http}/"
        (found,) = client.batch(Batch(f"{base}?codes=503", protocol=protocol))
        assert (found.status, found.error, found.ok, found.pod) == (503, None, False, "echo-0")
        (found,) = client.batch(Batch(f"{base}?codes=204", protocol=protocol))
        assert found.ok
        (found,) = client.batch(Batch(base, protocol=protocol, method="HEAD"))
        assert (found.status, found.reply) == (200, None)
    (found,) = client.batch(Batch(f"grpc://127.0.0.1:{echo.grpc}/any.Service/Method?codes=14", protocol="grpc"))
    assert (found.status, found.grpc, found.ok) == (200, 14, False)


def test_only_the_asked_fields_come_back(echo, client):
    (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/", fields=("pod", "path")))
    assert found.reply == {"pod": "echo-0", "path": "/"}
    assert found.headers is None
    (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/", fields=("response_headers",)))
    assert found.headers["content-type"] == ["application/json"]


# -- handshakes --------------------------------------------------------------------------------------------------------


def test_a_handshake_from_outside(echo, client):
    (found,) = client.batch(Batch(f"tls://127.0.0.1:{echo.https}", protocol="tls", alpn=("h2",)))
    assert found.ok
    assert found.tls["version"] == "TLSv1.3"
    assert found.tls["alpn"] == "h2"
    assert found.tls["client_certificate_requested"] is False
    assert found.tls["server_certificate"].startswith("-----BEGIN CERTIFICATE-----")


def tls_server(tmp_path, mode, version):
    (tmp_path / "pem").write_bytes(make(["server"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    context.load_verify_locations(tmp_path / "pem")
    context.verify_mode = mode
    context.minimum_version = context.maximum_version = version

    def behave(peer):
        with context.wrap_socket(peer, server_side=True) as session:
            session.recv(1)

    return serving(behave)


def test_a_server_that_asks_for_a_certificate_and_does_without(client, tmp_path):
    with tls_server(tmp_path, ssl.CERT_OPTIONAL, ssl.TLSVersion.TLSv1_3) as port:
        (found,) = client.batch(Batch(f"tls://127.0.0.1:{port}", protocol="tls"))
    assert found.tls["client_certificate_requested"] is True
    assert found.error is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_insists_on_a_certificate(client, tmp_path, version):
    with tls_server(tmp_path, ssl.CERT_REQUIRED, version) as port:
        (found,) = client.batch(Batch(f"tls://127.0.0.1:{port}", protocol="tls"))
        assert found.tls["client_certificate_requested"] is True
        assert found.error in {"tls", "reset", "eof"}
        own = make(["server"]).decode()
        key, certificate = own.split("-----BEGIN CERTIFICATE-----")
        batch = Batch(
            f"tls://127.0.0.1:{port}",
            protocol="tls",
            key=key,
            certificate=f"-----BEGIN CERTIFICATE-----{certificate}",
        )
        (found,) = client.batch(batch)
        assert found.error in {"tls", "reset", "eof"}, "a certificate of nobody's making"
        trusted = (tmp_path / "pem").read_text()
        key, certificate = trusted.split("-----BEGIN CERTIFICATE-----")
        batch = Batch(
            f"tls://127.0.0.1:{port}",
            protocol="tls",
            key=key,
            certificate=f"-----BEGIN CERTIFICATE-----{certificate}",
        )
        (found,) = client.batch(batch)
        assert found.error is None, found.detail


def test_a_certificate_that_is_none(client):
    with pytest.raises(OrderRefused, match="certificate or key cannot be read"):
        client.batch(Batch("tls://127.0.0.1:1", protocol="tls", certificate="x", key="y"))


# -- errors ------------------------------------------------------------------------------------------------------------


def slam(peer):
    peer.recv(4096)
    reset(peer)


def leave(peer):
    peer.recv(4096)


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
            (found,) = client.batch(Batch(f"{scheme}://127.0.0.1:{port}/", protocol=protocol, timeout=0.5))
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
    assert 0.2 <= found.seconds < 0.5


@pytest.mark.parametrize("protocol", ["h2c", "grpc"])
def test_a_server_that_drains_loses_no_request(client, protocol):
    with running(Echo(linger="0.4")) as own:
        with client.start(
            Batch(f"http://127.0.0.1:{own.http}/?delay=20ms", protocol=protocol, duration=0.3, concurrency=4)
        ) as job:
            while not job.records():
                pass
            own.terminate()
            found = job.wait(10)
        assert own.wait() == 0
    assert len(found) > 8
    assert Counter(record.error for record in found) == {None: len(found)}


# -- pace --------------------------------------------------------------------------------------------------------------


def test_an_open_loop_keeps_its_schedule_whatever_the_answers_do(client, echo):
    found = client.batch(
        Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", rate=100, duration=1, concurrency=50, fields=())
    )
    assert len(found) == 100
    starts = sorted(record.start for record in found)
    for k, start in enumerate(starts):
        assert start - starts[0] == pytest.approx(k / 100, abs=1e-5)
    assert all(record.seconds >= 0.1 for record in found)


def test_waiting_for_a_free_connection_counts_as_time(client, echo):
    found = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", rate=100, count=10, concurrency=1))
    slowest = max(found, key=lambda record: record.start)
    assert slowest.late > 0.7
    assert slowest.seconds > 0.8


def test_a_closed_loop_keeps_its_concurrency(client, echo):
    started = time.monotonic()
    found = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", count=20, concurrency=10))
    assert len(found) == 20
    assert 0.2 <= time.monotonic() - started < 2
    events = sorted([(r.start, 1) for r in found] + [(r.start + r.seconds, -1) for r in found])
    level, highest = 0, 0
    for _, step in events:
        level += step
        highest = max(highest, level)
    assert highest == 10


def test_a_duration_ends_a_closed_loop(client, echo):
    started = time.monotonic()
    found = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=10ms", duration=0.3))
    assert 0.3 <= time.monotonic() - started < 2
    assert 2 <= len(found) <= 31


# -- jobs and limits ---------------------------------------------------------------------------------------------------


def test_a_job_gives_its_records_as_they_come(client, echo):
    with client.start(Batch(f"http://127.0.0.1:{echo.http}/", rate=200, duration=5, fields=("pod",))) as job:
        seen = job.records()
        while len(seen) < 20:
            seen += job.records(len(seen))
        assert not job.done
        assert all(record.ok for record in seen)
        again = job.records()
        assert again[: len(seen)] == seen
    with pytest.raises(OrderRefused, match="no such job"):
        job.records()
    job.stop()


def test_at_most_eight_jobs(client, echo):
    jobs = [client.start(Batch(f"http://127.0.0.1:{echo.http}/", rate=1, duration=60)) for _ in range(8)]
    with pytest.raises(OrderRefused, match="at most 8 jobs"):
        client.start(Batch(f"http://127.0.0.1:{echo.http}/"))
    for job in jobs:
        job.stop()
    client.start(Batch(f"http://127.0.0.1:{echo.http}/")).stop()


def test_a_batch_that_cannot_be_sent_is_the_callers_mistake(client):
    with pytest.raises(UsageProblem, match="count must be"):
        client.batch(Batch("http://127.0.0.1:1/", count=0))


def test_bad_orders_get_one_sentence(client_program):
    control = Control.of_address("127.0.0.1", client_program.ports[0])
    for method, path, body, said in (
        ("POST", "/batch", {"url": 5}, "url must be text"),
        ("POST", "/jobs", [], "one JSON object"),
        ("GET", "/jobs/99", None, "no such job"),
        ("GET", "/", None, "known are"),
        ("DELETE", "/jobs", None, "no such job"),
    ):
        with pytest.raises(OrderRefused, match=said):
            control.order(method, path, body)
    control.close()


def test_a_runner_that_goes_away_ends_its_batch(client_program, echo):
    before = Control.of_address("127.0.0.1", echo.control)
    with socket.create_connection(("127.0.0.1", client_program.ports[0])) as runner:
        body = b'{"url":"http://127.0.0.1:%d/","duration":60,"rate":100}' % echo.http
        runner.sendall(b"POST /batch HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        served = before.order("GET", "/behaviour")["served"]
        while before.order("GET", "/behaviour")["served"] < served + 5:
            pass
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        first = before.order("GET", "/behaviour")["served"]
        time.sleep(0.1)
        if before.order("GET", "/behaviour")["served"] == first:
            break
    else:
        raise AssertionError("it still sends")
    before.close()


def test_answers_do_not_fill_the_memory():
    """A server that answers each request with 100 KB of pod name."""
    text = b'{"pod":"%s"}' % (b"x" * 100_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)

    def generous(peer):
        while peer.recv(4096):
            peer.sendall(answer)

    with running(Program("client", CLIENT_CONTROL_PORT="0")) as own, serving(generous) as port:
        with Client.at("127.0.0.1", own.ports[0]) as client:
            with client.start(Batch(f"http://127.0.0.1:{port}/", count=2000, concurrency=4, fields=("pod",))) as job:
                answered = 0
                while answered < 2000:
                    answered = job._control.order("GET", f"/jobs/{job._name}?since=2000")["count"]
                with pytest.raises(EnvironmentProblem, match="could not keep"):
                    job.records(1999)
            assert own.status_kib("VmHWM") < 160 * 1024
