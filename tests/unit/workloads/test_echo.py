"""The echo as a real process, asked by clients that are not ours where there is one."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import time

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.workloads.pod.certificate import make
from fixtures.workloads.pod.echo import DRAIN_LIMIT
from fixtures.workloads.pod.frames import Frames
from fixtures.workloads.traffic import Control, OrderRefused
from tests.unit.workloads.helpers import Echo, running


def ask(port, target="/", method="GET", headers=None, body=None, *, tls=False):
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=5, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def raw(port, data, *, until=b""):
    """Send bytes, read to the end or to `until`."""
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.sendall(data)
        seen = b""
        while not until or until not in seen:
            try:
                piece = peer.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            seen += piece
        return seen


def test_it_says_what_it_saw(echo):
    begun = time.time()
    status, text, headers = ask(echo.http, "/a%20b?x=1", headers={"X-One": "1", "Host": "shop.example"})
    answer = json.loads(text)
    assert status == 200
    assert headers["content-type"] == "application/json"
    at, peer = answer.pop("at"), answer.pop("peer")
    assert begun <= at <= time.time()
    assert peer.startswith("127.0.0.1:")
    assert answer == {
        "pod": "echo-0",
        "namespace": "shop",
        "version": "v7",
        "ip": "10.0.0.7",
        "protocol": "http1",
        "method": "GET",
        "path": "/a%20b?x=1",
        "host": "shop.example",
        "headers": {"accept-encoding": ["identity"], "x-one": ["1"], "host": ["shop.example"]},
        "port": echo.http,
        "tls": None,
        "body_bytes": 0,
    }


def test_delay_codes_and_size(echo):
    started = time.monotonic()
    status, text, _ = ask(echo.http, "/?delay=120ms&codes=503&size=200000")
    assert time.monotonic() - started >= 0.12
    assert status == 503
    assert len(json.loads(text)["padding"]) == 200_000


def test_another_certificate_on_demand(echo):
    key, certificate = make(["somebody-else"]).decode().split("-----BEGIN CERTIFICATE-----")
    chain = f"-----BEGIN CERTIFICATE-----{certificate}"
    with contextlib.closing(Control.of_address("127.0.0.1", echo.control)) as control:
        control.order("POST", "/certificate", {"certificate": chain, "key": key})
        assert ssl.get_server_certificate(("127.0.0.1", echo.https)).strip() == chain.strip()
        with pytest.raises(OrderRefused, match="cannot be used"):
            control.order("POST", "/certificate", {"certificate": chain, "key": "none"})
    assert ssl.get_server_certificate(("127.0.0.1", echo.https)).strip() == chain.strip()


@pytest.mark.parametrize("query", ["delay=5", "codes=x", "size=-1", "codes=14", "delay=1s&size=99999999999"])
def test_a_bad_query_is_answered_with_one_sentence(echo, query):
    status, text, _ = ask(echo.http, f"/?{query}")
    assert status == 400
    assert "\n" not in json.loads(text)["problem"]


def test_methods_without_a_body(echo):
    assert ask(echo.http, "/", "HEAD")[:2] == (200, b"")
    assert ask(echo.http, "/?codes=204")[:2] == (204, b"")
    assert json.loads(ask(echo.http, "/", "POST", body=b"x" * 500_000)[1])["body_bytes"] == 500_000


def test_requests_in_one_packet_are_answered_in_order(echo):
    lines = b"".join(b"GET /%d?delay=%dms HTTP/1.1\r\nHost: h\r\n\r\n" % (n, 30 - n) for n in range(30))
    seen = raw(echo.http, lines + b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    bodies = re.findall(rb"\{.*?\}(?=HTTP/1.1 200|$)", seen)
    paths = [json.loads(body)["path"].partition("?")[0] for body in bodies]
    assert paths == [f"/{n}" for n in range(30)] + ["/last"]


def test_continue_is_said_to_who_asks(echo):
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    assert raw(echo.http, head, until=b"100 Continue").startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in raw(echo.http, head + b"ok")


def test_tls_facts(echo):
    status, text, _ = ask(echo.https, "/", tls=True)
    assert status == 200
    assert json.loads(text)["tls"] == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "alpn": "http/1.1",
        "sni": None,
    }


def test_lines(echo):
    seen = raw(echo.tcp, b"one\r\n\xff\xfe\ntwo", until=b'"line":"\\ufffd\\ufffd"')
    answers = [json.loads(line) for line in seen.splitlines()]
    assert [answer["line"] for answer in answers] == ["one", "\ufffd\ufffd"]
    assert answers[0]["protocol"] == "tcp"
    assert answers[0]["pod"] == "echo-0"
    assert b"at most" in raw(echo.tcp, b"x" * 200_000)


def method(channel, query=""):
    return channel.unary_unary(f"/meshproof.Echo/Call{query}", bytes, bytes)


def test_grpc_by_the_grpc_library(echo):
    with grpc.insecure_channel(f"127.0.0.1:{echo.grpc}") as channel:
        grpc.channel_ready_future(channel).result(20)
        call = method(channel)
        answer = json.loads(call(b'{"a": 1}', timeout=5, metadata=(("x-one", "1"),)))
        assert answer["protocol"] == "grpc"
        assert answer["path"] == "/meshproof.Echo/Call"
        assert answer["headers"]["x-one"] == ["1"]
        assert json.loads(call(b"", timeout=5))["pod"] == "echo-0"
        big = method(channel, "?size=300000")
        assert len(json.loads(big(b"x" * 200_000, timeout=5))["padding"]) == 300_000
        with pytest.raises(grpc.RpcError) as caught:
            method(channel, "?codes=14")(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.RpcError) as caught:
            method(channel, "?delay=2s")(b"", timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_behaviour_on_demand(echo):
    control = Control.of_address("127.0.0.1", echo.control)
    before = control.order("GET", "/behaviour")["served"]
    control.order("POST", "/behaviour", {"codes": "503:1", "delay": "50ms"})
    started = time.monotonic()
    assert ask(echo.http)[0] == 503
    assert time.monotonic() - started >= 0.05
    assert ask(echo.http, "/?codes=200")[0] == 200
    assert control.order("POST", "/behaviour", {"codes": "", "delay": ""})["served"] == before + 2
    assert ask(echo.http)[0] == 200
    control.close()


def test_a_behaviour_that_ends_by_itself(echo):
    control = Control.of_address("127.0.0.1", echo.control)
    control.order("POST", "/behaviour", {"codes": "503", "lasts": "100ms"})
    control.order("POST", "/behaviour", {"codes": "500", "lasts": "300ms"})
    started = time.monotonic()
    statuses = []
    while (status := ask(echo.http)[0]) != 200:
        assert time.monotonic() - started < 10
        statuses.append(status)
    assert set(statuses) == {500}
    assert time.monotonic() - started >= 0.29
    control.order("POST", "/behaviour", {"codes": "503", "lasts": "1m"})
    control.order("POST", "/behaviour", {"codes": ""})
    assert ask(echo.http)[0] == 200
    control.close()


def test_a_server_tells_when_requests_came(echo):
    control = Control.of_address("127.0.0.1", echo.control)
    before = len(control.order("GET", "/arrivals")["ages"])
    begun = time.monotonic()
    assert [ask(echo.http)[0] for _ in range(3)] == [200] * 3
    told = control.order("GET", "/arrivals")
    assert len(told["ages"]) == before + 3
    assert max(told["ages"][-3:]) <= time.monotonic() - begun
    assert told["ages"] == sorted(told["ages"], reverse=True)
    assert told["reach"] >= max(told["ages"])
    control.close()


@pytest.mark.parametrize(
    "body", [[], {"codes": 5}, {"codes": "503", "lasts": "long"}, {"colour": "red"}, {"codes": "abc"}, {"delay": "x"}]
)
def test_a_bad_behaviour_changes_nothing(echo, body):
    control = Control.of_address("127.0.0.1", echo.control)
    with pytest.raises(OrderRefused, match="refused POST /behaviour") as caught:
        control.order("POST", "/behaviour", body)
    assert caught.value.status == 400
    assert ask(echo.http)[0] == 200
    control.close()


def test_control_ports_take_json_of_a_bounded_size_only(echo):
    assert ask(echo.control, "/behaviour", "POST", body=b"{")[0] == 400
    assert ask(echo.control, "/nothing")[0] == 404
    assert raw(
        echo.control, b"POST /behaviour HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 3_000_000
    ).startswith(b"HTTP/1.1 413")


# -- peers that mean no good -------------------------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STARTS = [b"", PREFACE, PREFACE[:10], b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\n"]
GARBAGE = st.binary(max_size=400)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["http", "grpc", "tcp", "https", "control"]),
    st.sampled_from(STARTS),
    st.lists(GARBAGE, max_size=3),
)
def test_no_bytes_end_it(echo, port, start, pieces):
    with socket.create_connection(("127.0.0.1", getattr(echo, port)), 5) as peer:
        try:
            for piece in [start, *pieces]:
                peer.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert echo.process.poll() is None
    assert ask(echo.http)[0] == 200


def test_endless_heads_are_refused(echo):
    assert raw(echo.http, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000).startswith(b"HTTP/1.1 431")
    assert raw(echo.http, b"GET /" + b"x" * 100_000).startswith(b"HTTP/1.1 431")
    assert raw(echo.http, b"\x00\x01\x02\x03 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_an_overlong_http2_frame_ends_the_connection_at_its_header(echo):
    seen = raw(echo.http, PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 1000)
    assert len(seen) < 200


def test_peers_that_do_not_read_cost_little_memory():
    with running(Echo()) as own:
        peers = []
        for n in range(20):
            peer = socket.create_connection(("127.0.0.1", own.http), 5)
            peer.sendall(b"GET /?size=60000000 HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
            peers.append(peer)
            if n % 2:
                peer = socket.create_connection(("127.0.0.1", own.http), 5)
                connection = h2_client(peer)
                for stream in range(1, 200, 2):
                    connection.send_headers(stream, head("/?size=60000000"), end_stream=True)
                peer.sendall(connection.data_to_send())
                peers.append(peer)
        assert ask(own.http)[0] == 200
        for peer in peers:
            peer.close()
        assert own.status_kib("VmHWM") < 70 * 1024


def test_a_flood_of_pings_does_not_pile_up_answers():
    with running(Echo()) as own, socket.create_connection(("127.0.0.1", own.http), 5) as peer:
        connection = h2_client(peer)
        peer.sendall(connection.data_to_send())
        peer.settimeout(0.5)
        ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"p" * 8
        sent = 0
        try:
            while sent < 40_000_000:
                sent += peer.send(ping * 4000)
        except TimeoutError:
            pass
        assert sent < 40_000_000, "it stopped reading"
        assert own.status_kib("VmHWM") < 60 * 1024


# -- draining ----------------------------------------------------------------------------------------------------------


def h2_client(peer):
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    peer.sendall(connection.data_to_send())
    return connection


def head(path):
    return [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", path)]


def test_an_abrupt_one_dies_at_sigterm_with_what_is_under_way():
    with running(Echo(ECHO_ABRUPT="1")) as own:
        busy = http.client.HTTPConnection("127.0.0.1", own.http, timeout=5)
        busy.request("GET", "/?delay=20s")
        assert ask(own.http, "/")[0] == 200  # so the other request is under way too
        own.terminate()
        assert own.wait() == 137
        with pytest.raises(ConnectionError):
            busy.getresponse()
        busy.close()


def test_sigterm_finishes_requests_and_keeps_no_connection():
    with running(Echo(linger="0.3")) as own:
        idle = http.client.HTTPConnection("127.0.0.1", own.http, timeout=5)
        idle.request("GET", "/")
        idle.getresponse().read()
        busy = http.client.HTTPConnection("127.0.0.1", own.http, timeout=5)
        busy.request("GET", "/?delay=700ms")
        late = socket.create_connection(("127.0.0.1", own.http), 5)
        time.sleep(0.05)  # virtual time has no power over another process: the request must be under way by now
        own.terminate()
        time.sleep(0.1)
        answer = ask(own.http, "/new")
        assert answer[0] == 200, "its address is still among the endpoints: serve on"
        assert answer[2]["connection"] == "close"
        finished = busy.getresponse()
        assert finished.status == 200
        assert finished.getheader("connection") == "close"
        assert finished.read()
        assert own.wait() == 0
        assert late.recv(100) == b""
        idle.close()
        busy.close()
        late.close()


def test_sigterm_says_goaway_and_finishes_streams():
    with running(Echo(linger="0.2")) as own, socket.create_connection(("127.0.0.1", own.http), 5) as peer:
        connection = h2_client(peer)
        connection.send_headers(1, head("/?delay=2s"), end_stream=True)
        peer.sendall(connection.data_to_send())
        time.sleep(0.05)
        own.terminate()
        events: list[Event] = []
        frames, warned = Frames(), None
        while data := peer.recv(65536):
            events += connection.receive_data(frames.feed(data))
            if warned is None and frames.last_stream is not None:
                warned = not any(isinstance(event, StreamEnded) for event in events)
        kinds = {type(event) for event in events}
        assert warned
        assert {ResponseReceived, DataReceived, StreamEnded} <= kinds
        assert frames.last_stream == 1, "the last word names the last stream that was served"
        assert own.wait() == 0


def test_an_idle_echo_ends_at_once():
    with running(Echo()) as own:
        own.terminate()
        assert own.wait(DRAIN_LIMIT - 5) == 0
