"""The driver as it runs in a pod: a process of its own, because it patches its interpreter for gevent."""

import http.client
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from fixtures.kube import eventually
from load.histograms import decode


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[tuple[str, int]]] = set()
    asked: ClassVar[list[str]] = []
    held: ClassVar[threading.Event] = threading.Event()

    def do_GET(self):
        self.connections.add(self.client_address)
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        if self.path.startswith("/never"):
            self.asked.append(self.path)
            self.held.wait(20)
        if self.path.startswith("/close"):
            self.close_connection = True
            return
        body = json.dumps({"pod": "echo-1"}).encode()
        self.send_response(int(self.path[1:4]) if self.path[1:4].isdigit() else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients that gave up."""


@pytest.fixture(scope="module")
def server():
    one = Server(("127.0.0.1", 0), Answer)
    one.daemon_threads = True
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{one.server_port}"
    one.shutdown()
    one.server_close()


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def driver():
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "load.driver", "--port", str(port)])

    def call(method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    eventually(lambda: call("GET", "/clock")[0] == 200, timeout=20, what="the driver answers")
    yield call
    process.terminate()
    assert process.wait(10) == 0


def run(driver, **body):
    status, told = driver("POST", "/run", body)
    assert status == 200, told
    path = f"/run/{told['id']}"
    return eventually(lambda: ended(driver, path), timeout=20, what="the job ends")


def ended(driver, path):
    told = driver("GET", path)[1]
    return told if told["state"] != "running" else None


def test_every_request_is_recorded_with_its_backend(driver, server):
    told = run(driver, url=server + "/", rate=100, duration=0.5, users=4, record="requests")
    assert told["state"] == "done"
    records = told["records"]
    assert len(records) == 50
    assert {r["pod"] for r in records} == {"echo-1"}
    assert all(r["status"] == 200 and r["error"] is None and r["start"] >= r["intended"] - 1e-4 for r in records)
    assert told["pulse"]
    assert all(late >= 0 for _, late in told["pulse"])
    spacing = sorted(r["intended"] for r in records)
    assert spacing[-1] - spacing[0] == pytest.approx(0.49, abs=1e-4)


def test_connections_are_kept(driver, server):
    Answer.connections.clear()
    told = run(driver, url=server + "/", rate=100, duration=0.5, users=3)
    assert told["errors"] == 0
    assert 1 <= len(Answer.connections) <= 3


def test_a_stall_is_charged_to_the_requests_that_queued_behind_it(driver, server):
    told = run(driver, url=server + "/slow", rate=10, duration=1.0, users=1)
    latency, service = (decode(told["histograms"][name]) for name in ("latency", "service"))
    # Ten requests of 0.3 s, due 0.1 s apart, through one connection: the last waits for the nine before it.
    assert latency.get_max_value() > 1_800_000
    assert latency.get_max_value() > 5 * service.get_value_at_percentile(50)


def test_a_slow_answer_is_no_lateness_of_the_driver(driver, server):
    told = run(driver, url=server + "/slow", rate=10, duration=1.0, users=1)
    lag, clock = (decode(told["histograms"][name]).get_value_at_percentile(90) for name in ("lag", "clock"))
    assert clock < lag / 4


def test_warm_up_is_sent_and_not_counted(driver, server):
    told = run(driver, url=server + "/", rate=100, duration=0.4, warmup=30)
    assert told["requests"] == 10
    assert decode(told["histograms"]["lag"]).get_total_count() == 10


@pytest.mark.parametrize(
    ("path", "timeout", "error", "status"),
    [("/503", 1, None, 503), ("/404", 1, None, 404), ("/slow", 0.1, "timeout", None), ("/close", 1, "eof", None)],
)
def test_failures_are_told_apart(driver, server, path, timeout, error, status):
    told = run(driver, url=server + path, rate=20, duration=0.1, users=2, timeout=timeout, record="requests")
    assert {(r["error"], r["status"]) for r in told["records"]} == {(error, status)}
    assert told["errors"] == 2


def test_every_request_has_the_whole_of_its_time(driver, server):
    order = {"rate": 50, "users": 1, "record": "requests"}
    told = run(driver, url=server + "/slow", duration=0.22, timeout=3, **order)  # 3.3 s together
    assert [record["error"] for record in told["records"]] == [None] * 11
    Answer.held.clear()
    told = run(driver, url=server + "/never", duration=0.08, timeout=0.2, **order)
    Answer.held.set()
    assert [record["error"] for record in told["records"]] == ["timeout"] * 4
    assert min(record["seconds"] for record in told["records"]) >= 0.19


def test_nobody_listening_is_refused(driver):
    told = run(driver, url=f"http://127.0.0.1:{free_port()}/", rate=20, duration=0.1, record="requests")
    assert {r["error"] for r in told["records"]} == {"refused"}


def test_an_address_without_a_way_to_it_is_not_said_to_refuse(driver):
    told = run(driver, url="http://255.255.255.255:9/", rate=20, duration=0.1, record="requests")
    assert {r["error"] for r in told["records"]} == {"unreachable"}


def test_a_job_can_be_stopped_and_keeps_its_records(driver, server):
    name = driver("POST", "/run", {"url": server + "/", "rate": 50, "duration": 60, "record": "requests"})[1]["id"]
    eventually(lambda: driver("GET", f"/run/{name}")[1]["requests"] > 5, timeout=10, what="some requests")
    assert driver("POST", "/run", {"url": server + "/", "rate": 50, "duration": 60})[0] == 409
    told = driver("DELETE", f"/run/{name}")[1]
    assert told["state"] == "stopped"
    assert len(told["records"]) > 5
    assert len(driver("GET", f"/run/{name}?since=5")[1]["records"]) == told["requests"] - 5


def test_what_hangs_when_a_job_is_stopped_has_failed(driver, server):
    order = {"url": server + "/never", "rate": 50, "duration": 60, "users": 2, "timeout": 0.5, "record": "requests"}
    Answer.held.clear()
    Answer.asked.clear()
    name = driver("POST", "/run", order)[1]["id"]
    eventually(lambda: Answer.asked, timeout=10, what="a request hangs")
    told = driver("DELETE", f"/run/{name}")[1]
    Answer.held.set()
    assert told["state"] == "stopped"
    assert len(told["records"]) >= len(Answer.asked)
    assert {record["error"] for record in told["records"]} == {"timeout"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"url": "http://x/", "rate": 1}, "duration"),
        ({"url": "http://no.such.host.invalid/", "rate": 1, "duration": 1}, "dns"),
    ],
)
def test_a_bad_order_is_one_sentence(driver, body, named):
    status, told = driver("POST", "/run", body)
    assert status == 400
    assert named in told["problem"]


def test_an_unknown_path_is_not_found(driver):
    assert driver("GET", "/run/999")[0] == 404
    assert driver("POST", "/nothing", {})[0] == 404
