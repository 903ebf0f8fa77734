from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import ssl
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hyperframe.frame import SettingsFrame

from refmesh.agent import admin
from refmesh.agent.accepting import accept_in_thread
from refmesh.agent.places import INBOUND_SOURCE
from refmesh.agent.probes import QUIT_PATH, ProbeServer, _headers, perform
from refmesh.agent.secrets import SecretServer
from refmesh.agent.sockets import open_sockets
from refmesh.ca import wire
from refmesh.ca.signing import Keyring

LOOPBACK = "127.0.0.1"


ONWARD = {
    "/moved": "/ok",
    "/moved/and/sick": "../../no",
    "/absolute": "http://127.0.0.1:{port}/ok?a=1",
    "/elsewhere": "http://example.com/ok",
    "/circle": "/circle",
    "/nowhere": "http://127.0.0.1:x/",
    "/agent": "http://127.0.0.1:15020/healthz/ready",
}


class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in ONWARD:
            self.send_response(302)
            self.send_header("Location", ONWARD[self.path].format(port=self.connection.getsockname()[1]))
        else:
            needs = self.path == "/headers" and self.headers.get_all("x-tenant") != ["a", "b"]
            healthy = self.path in {"/ok", "/ok?a=1", "/headers"} and self.headers["Host"] != "sick" and not needs
            self.send_response(200 if healthy else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def app_port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), App)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def grpc_port() -> Iterator[int]:
    def check(request: bytes, _context: Any) -> bytes:
        service = dict(wire.fields(request)).get(1, b"")
        return wire.varint_field(1, 2 if service == b"sick" else 1)

    class Health(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(check) if details.method.endswith("Health/Check") else None

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Health()])
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    yield port
    server.stop(0).wait()


@pytest.fixture(scope="module")
def closed_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as taken:
        return int(taken.getsockname()[1])


def test_http_probes_pass_the_applications_own_answer_on(app_port):
    assert perform({"httpGet": {"port": app_port, "path": "/ok"}}, LOOPBACK)[0] == 200
    assert perform({"httpGet": {"port": app_port, "path": "/no"}}, LOOPBACK)[0] == 500
    sick = {"httpGet": {"port": app_port, "path": "/ok", "httpHeaders": [{"name": "host", "value": "sick"}]}}
    assert perform(sick, LOOPBACK)[0] == 500


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("ok", 200),
        ("ok?a=1#top", 200),
        ("/moved", 200),
        ("/absolute", 200),
        ("/moved/and/sick", 500),
        ("/circle", 503),
        ("/nowhere", 503),
        # what the kubelet does not follow either; without a Location it takes it for a success
        ("/elsewhere", 302),
        ("/agent", 302),
    ],
)
def test_http_probes_ask_as_the_kubelet_would(app_port, path, status):
    assert perform({"httpGet": {"port": app_port, "path": path}}, LOOPBACK)[0] == status


def test_http_probes_send_the_headers_that_the_pod_names(app_port):
    tenants = [{"name": "X-Tenant", "value": value} for value in ("a", "b")]
    probe = {"port": app_port, "path": "/headers", "httpHeaders": tenants}
    assert perform({"httpGet": probe}, LOOPBACK)[0] == 200
    given = [("host", "shop"), ("Host", "b"), ("Content-Length", "9"), ("user-agent", ""), ("Accept", "text/html")]
    assert _headers(given) == ("shop", [("Accept", "text/html")])
    assert _headers([]) == ("", [("User-Agent", "kube-probe/refmesh"), ("Accept", "*/*")])
    # a redirect keeps the name that the pod gave, unless it gives another
    sick = [{"name": "Host", "value": "sick"}]
    assert perform({"httpGet": {"port": app_port, "path": "/moved", "httpHeaders": sick}}, LOOPBACK)[0] == 500
    assert perform({"httpGet": {"port": app_port, "path": "/absolute", "httpHeaders": sick}}, LOOPBACK)[0] == 200


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 20_000, 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", 503),
    ],
)
def test_an_answer_ends_where_it_says_though_the_connection_stays(reply, status):
    with socket.create_server((LOOPBACK, 0)) as server, contextlib.ExitStack() as kept:

        def serve() -> None:
            connection = kept.enter_context(server.accept()[0])
            connection.recv(4096)
            connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        # one that goes on waiting is a failure of this probe, and would be at any other timeout
        probe = {"httpGet": {"port": server.getsockname()[1]}, "timeoutSeconds": 2 if status < 300 else 0.1}
        assert perform(probe, LOOPBACK)[0] == status
        thread.join()


def test_tcp_probes_connect(app_port, closed_port):
    assert perform({"tcpSocket": {"port": app_port}}, LOOPBACK)[0] == 200
    assert perform({"tcpSocket": {"port": closed_port}}, LOOPBACK)[0] == 503


def test_grpc_probes_read_the_health_status(grpc_port, closed_port):
    assert perform({"grpc": {"port": grpc_port}}, LOOPBACK) == (200, "serving")
    assert perform({"grpc": {"port": grpc_port, "service": "sick"}}, LOOPBACK)[0] == 503
    assert perform({"grpc": {"port": closed_port}}, LOOPBACK)[0] == 503


def test_a_port_that_speaks_no_grpc_is_not_healthy(app_port):
    assert perform({"grpc": {"port": app_port}, "timeoutSeconds": 1}, LOOPBACK)[0] == 503


def test_https_probes_ask_whether_something_answers_not_who(app_port):
    chain, key = Keyring.create().server_pair(["anyone"], "spiffe://x/y", timedelta(days=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as both:
        both.write(chain + key)
        both.flush()
        context.load_cert_chain(both.name)
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), App)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        probe = {"httpGet": {"port": server.server_address[1], "path": "/ok", "scheme": "HTTPS"}}
        assert perform(probe, LOOPBACK)[0] == 200
        assert perform({"httpGet": {"port": app_port, "scheme": "HTTPS"}, "timeoutSeconds": 5}, LOOPBACK)[0] == 503
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_silent_port_ends_at_the_probes_own_timeout():
    with socket.create_server((LOOPBACK, 0)) as silent:
        probe = {"httpGet": {"port": silent.getsockname()[1]}, "timeoutSeconds": 0.05}
        status, text = perform(probe, LOOPBACK)
        assert status == 503
        assert "timed out" in text


def test_a_probe_without_an_action_says_so():
    assert perform({}, LOOPBACK)[0] == 500


@pytest.fixture(scope="module")
def agent_port(app_port) -> int:
    probes = {"/app-health/app/readyz": {"httpGet": {"port": app_port, "path": "/ok"}, "timeoutSeconds": 1}}
    return ProbeServer(probes, LOOPBACK, port=0).start()


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_agent_does_the_probes_of_the_pod_and_no_others(agent_port):
    assert get(agent_port, "/app-health/app/readyz") == 200
    assert get(agent_port, "/app-health/app/livez") == 404
    assert get(agent_port, "/") == 404


@pytest.mark.parametrize("garbage", [b"\r\n\r\n", b"GET /\r\n\r\n", b"\xff" * 100 + b"\r\n\r\n", b"x" * 20_000])
def test_garbage_is_cut_off_and_does_no_harm(agent_port, garbage):
    with socket.create_connection((LOOPBACK, agent_port), timeout=5) as connection:
        connection.sendall(garbage)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert get(agent_port, "/app-health/app/readyz") == 200


def post(port: int, path: str, source: str = LOOPBACK) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5, source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request("POST", path)
        return connection.getresponse().status


def test_the_pod_itself_may_end_a_classic_sidecar_and_nobody_else(agent_port):
    told = threading.Event()
    port = ProbeServer({}, LOOPBACK, port=0, quit=told.set).start()
    assert get(port, QUIT_PATH) == 404
    assert post(port, "/") == 405
    # what Envoy passes on comes from here
    assert post(port, QUIT_PATH, source=INBOUND_SOURCE) == 403
    assert not told.is_set()
    assert post(port, QUIT_PATH) == 200
    assert told.wait(5)
    # a native sidecar ends by itself: nothing to do is no mistake
    assert post(agent_port, QUIT_PATH) == 200
    assert get(agent_port, "/app-health/app/readyz") == 200


@pytest.fixture
def few_threads(monkeypatch) -> list[str]:
    """Threads that cannot be started, by name: each time costs one of these."""
    refused: list[str] = []
    sound = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name in refused:
            refused.remove(thread.name)
            raise RuntimeError("can't start new thread")
        sound(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    return refused


def test_a_moment_without_threads_ends_neither_probes_nor_secrets(agent_port, few_threads, tmp_path):
    secrets = SecretServer(str(tmp_path / "sds"))
    secrets.start()
    for _ in range(3):
        few_threads.extend(["probe", "sds-session"])
        with socket.create_connection((LOOPBACK, agent_port), timeout=5) as probe:
            assert probe.recv(1) == b""
        with socket.socket(socket.AF_UNIX) as sds:
            sds.settimeout(5)
            sds.connect(secrets.path)
            assert sds.recv(1) == b""
    assert not few_threads
    assert get(agent_port, "/app-health/app/readyz") == 200
    with socket.socket(socket.AF_UNIX) as sds:
        sds.settimeout(5)
        sds.connect(secrets.path)
        sds.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
        assert sds.recv(9)


def test_a_connection_without_a_thread_takes_no_room(few_threads):
    port = ProbeServer({}, LOOPBACK, port=0).start()
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr("refmesh.agent.accepting._PAUSE_SECONDS", 0)
        for _ in range(70):
            few_threads.append("probe")
            with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
                assert connection.recv(1) == b""
    assert get(port, "/") == 404


def test_without_its_listener_the_agent_ends(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(os, "kill", lambda *_: ended.set())
    lost = socket.create_server((LOOPBACK, 0))
    lost.close()
    accept_in_thread(lost, "probes", lambda *_: None)
    assert ended.wait(5)


SOCKETS = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
   1: 00000000:3AAC 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 4712 1 0
   2: 0100007F:1F90 0200007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0
   3: 0100007F:1F90 0200007F:9998 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   4: 0100007F:1F90 0200007F:9997 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0
"""


def test_the_applications_sockets_are_those_that_somebody_else_holds_open():
    assert open_sockets(SOCKETS.splitlines()) == 2
    assert open_sockets([SOCKETS.splitlines()[0], SOCKETS.splitlines()[2], "", "x"]) == 0
    with socket.create_server((LOOPBACK, 0)) as held, Path("/proc/net/tcp").open(encoding="ascii") as table:
        port = f":{held.getsockname()[1]:04X} "
        lines = [line for line in table if port in line]
        assert open_sockets(lines) == 1
        assert open_sockets(lines, proxy_uid=os.getuid()) == 0


def test_the_log_does_not_tell_the_secret_part_of_a_hooks_path(app_port, capsys):
    path = "/app-lifecycle/app/prestop/Zm9vYmFy"
    server = ProbeServer({path: {"httpGet": {"port": app_port, "path": "/ok"}}}, LOOPBACK, port=0)
    port = server.start()
    assert get(port, path) == 200
    assert get(port, "/app-lifecycle/app/prestop") == 404
    said = capsys.readouterr().err
    assert "/app-lifecycle/app/prestop" in said
    assert "Zm9vYmFy" not in said


def test_connections_that_never_ask_keep_nobody_out(agent_port):
    # 16 addresses of loopback, as 16 pods with three connections each
    others = [f"127.0.0.{number}" for number in range(2, 18)] * 3
    with contextlib.ExitStack() as stack:
        for other in others:
            silent = socket.create_connection((LOOPBACK, agent_port), timeout=5, source_address=(other, 0))
            stack.enter_context(silent).sendall(b"G")
        assert get(agent_port, "/app-health/app/readyz") == 200


def test_who_holds_most_connections_loses_the_oldest_unfinished(agent_port):
    with contextlib.ExitStack() as stack:

        def connect(source: str) -> socket.socket:
            link = socket.create_connection((LOOPBACK, agent_port), timeout=20, source_address=(source, 0))
            return stack.enter_context(link)

        few = connect("127.0.0.2")
        many = [connect("127.0.0.3") for _ in range(17)]
        assert many[0].recv(1) == b"", "one address has room for 16"
        few.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert few.recv(12) == b"HTTP/1.1 404"


def test_a_request_that_trickles_in_has_two_seconds_in_all(agent_port, monkeypatch):
    monkeypatch.setattr("refmesh.agent.probes._HEAD_SECONDS", 0.3)
    with socket.create_connection((LOOPBACK, agent_port), timeout=20) as slow:
        threading.Thread(target=_trickle, args=(slow,), daemon=True).start()
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""


def _trickle(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"G")
            time.sleep(0.1)


def test_the_admin_client_survives_an_absent_envoy(monkeypatch, closed_port):
    monkeypatch.setattr(admin, "ADMIN_PORT", closed_port)
    assert not admin.ready()
    assert admin.active_connections() == 0
