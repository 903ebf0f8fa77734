"""The runner's side of control ports, against a server of the test's own."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from load.control import PodControl
from load.remote import Job
from load.spec import LoadSpec

WAY_SECONDS = 0.3
AHEAD_SECONDS = 50.0


class Pod(BaseHTTPRequestHandler):
    """Its clock is ahead, and the way to it takes long for each new connection."""

    protocol_version = "HTTP/1.1"
    ways: ClassVar[list[object]] = []

    def setup(self):
        self.ways.append(self.client_address)
        time.sleep(WAY_SECONDS)
        super().setup()

    def do_GET(self):
        body = json.dumps({"now": time.time() + AHEAD_SECONDS}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def kube():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pod)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    @contextmanager
    def forward(*_):
        yield server.server_address

    yield SimpleNamespace(forward=forward)
    server.shutdown()
    server.server_close()


def test_the_way_to_the_pod_is_no_difference_of_clocks(kube):
    Pod.ways.clear()
    with PodControl(kube, "space", "pod", 1, "/clock") as control:
        assert control.skew == pytest.approx(-AHEAD_SECONDS, abs=WAY_SECONDS / 4)
    assert len(Pod.ways) == 1


def test_when_a_driver_answered_is_told_by_the_runners_clock():
    answer = {"state": "running", "problem": "", "requests": 0, "errors": 0, "now": 1050.0}
    driver: Any = SimpleNamespace(skew=-AHEAD_SECONDS, call=lambda *_: answer)
    job = Job(driver, LoadSpec("http://echo/", 1, 1), "1")
    assert job.progress().now == 1000.0
    del answer["now"]
    assert job.progress().now is None
