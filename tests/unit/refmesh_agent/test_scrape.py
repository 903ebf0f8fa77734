from __future__ import annotations

import http.client
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from refmesh.agent import scrape as scrape_module
from refmesh.agent.exposition import Workload
from refmesh.agent.pages import _Timed
from refmesh.agent.probes import ProbeServer
from refmesh.agent.scrape import Scraper

PAGES = {
    "/stats/prometheus": "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n",
    "/metrics": "# TYPE orders counter\norders_total 7\n# EOF\n",
}


SLOW = dict[str, float]()
"""Pages of which nothing comes for so many seconds."""


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        time.sleep(SLOW.get(path, 0.0))
        if path == "/endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20))
            return
        if path == "/moved":
            self.send_response(301)
            self.send_header("Location", "/metrics")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path == "/short":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
            self.close_connection = True
            return
        body = PAGES.get(path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def scrape(admin_port: int, app_port: int = 0, path: str = "/metrics", headers: str = "") -> tuple[int, str]:
    """Over the agent's real port, as Prometheus would."""
    scraper = Scraper(
        Workload("page", "shop"), "", "127.0.0.1", app_port, path, admin_port=admin_port, source="127.0.0.1"
    )
    server = ProbeServer({}, "127.0.0.1", scraper, port=0)
    with socket.create_connection(("127.0.0.1", server.start()), timeout=10) as connection:
        connection.sendall(f"GET /stats/prometheus HTTP/1.1\r\n{headers}\r\n".encode())
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return reply.status, reply.read().decode()


def test_the_applications_metrics_follow_the_proxys(port: int) -> None:
    status, text = scrape(port, port)
    assert status == 200
    lines = text.splitlines()
    assert lines.index("envoy_server_live{} 1") < lines.index("orders_total 7")
    assert "refmesh_agent_application_up 1" in lines
    assert "# EOF" not in lines


def test_without_an_annotation_nobody_asks_the_application(port: int) -> None:
    _, text = scrape(port)
    assert "application_up" not in text


@pytest.mark.parametrize("path", ["/none", "/endless", "/short"])
def test_an_application_that_fails_is_reported_and_costs_the_proxys_metrics_nothing(port: int, path: str) -> None:
    status, text = scrape(port, port, path)
    assert status == 200
    assert "envoy_server_live{} 1" in text
    assert "refmesh_agent_application_up 0" in text


def test_a_busy_envoy_is_given_the_time_that_a_silent_application_is_not(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape_module, "_SILENT_SECONDS", 0.3)
    monkeypatch.setitem(SLOW, "/stats/prometheus", 1.0)
    status, text = scrape(port, port)
    assert status == 200
    assert "refmesh_agent_application_up 1" in text
    monkeypatch.setitem(SLOW, "/metrics", 1.0)
    _, text = scrape(port, port)
    assert "envoy_server_live{} 1" in text
    assert "refmesh_agent_application_up 0" in text


def test_an_application_has_the_time_that_the_scraper_has(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape_module, "_SILENT_SECONDS", 0.3)
    monkeypatch.setitem(SLOW, "/metrics", 1.0)
    for patience, up in (("3", 1), ("0.8", 0), ("nan", 0), ("-1", 0), ("soon", 0)):
        _, text = scrape(port, port, headers=f"X-Prometheus-Scrape-Timeout-Seconds: {patience}\r\n")
        assert "envoy_server_live{} 1" in text
        assert f"refmesh_agent_application_up {up}" in text, patience


@pytest.mark.parametrize(
    ("patience", "seconds"), [("10", (9.5, 9.5)), ("1", (0.5, 0.5)), ("0.5", (0.25, 0.25)), ("1e9", (15, 15))]
)
def test_a_scrape_ends_before_its_scraper_gives_up(patience: str, seconds: tuple[float, float]) -> None:
    assert scrape_module.limits(patience) == seconds


def test_metrics_that_have_moved_are_found(port: int) -> None:
    _, text = scrape(port, port, "/moved")
    assert "orders_total 7" in text
    assert "refmesh_agent_application_up 1" in text


def test_without_envoy_there_are_no_metrics_and_the_answer_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    assert scrape(free)[0] == 503


def test_one_that_says_nothing_is_waited_for_less_long_than_one_that_is_slow() -> None:
    near, far = socket.socketpair()
    with near, far:
        reader = _Timed(near, time.monotonic() + 1000, 2)
        far.sendall(b"ab")
        waits = list[float | None]()
        for _ in range(2):
            reader.readinto(bytearray(1))
            waits.append(near.gettimeout())
    first, second = waits
    assert first == 2
    assert second is not None
    assert second > 2
