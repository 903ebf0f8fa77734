"""One request, tried once; whatever happens is told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading

import pytest

from fixtures.workloads.manifests import knock_job
from fixtures.workloads.pod.knock import knock
from tests.unit.workloads.helpers import ROOT, Echo, running


def test_the_answer_is_printed_as_one_line():
    with running(Echo()) as echo:
        url = f"http://127.0.0.1:{echo.ports[0]}/hello?codes=404"
        command = [sys.executable, "-m", "fixtures.workloads.pod.knock", url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    found = json.loads(done.stdout)
    assert (found["status"], found["error"]) == (404, None)
    assert json.loads(found["body"])["path"].startswith("/hello")


@pytest.mark.parametrize(("said", "error"), [(b"", "eof"), (b"SSH-2.0 hello\r\n", "protocol")])
def test_what_is_no_http_is_told(said, error):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        found = knock(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    assert (found["status"], found["error"]) == (None, error)


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert knock(f"http://127.0.0.1:{free.getsockname()[1]}/")["error"] == "refused"


def test_a_job_knocks_in_its_init_container_too_where_asked():
    plain = knock_job("j", "ns", image="i", url="http://x/", pods=3)["spec"]
    assert (plain["completions"], plain["parallelism"], plain["backoffLimit"]) == (3, 3, 0)
    assert "initContainers" not in plain["template"]["spec"]
    spec = knock_job("j", "ns", image="i", url="http://x/", prepared=True)["spec"]["template"]["spec"]
    assert [one["name"] for one in (*spec["initContainers"], *spec["containers"])] == ["prepare", "knock"]
    assert all(one["command"][-1] == "http://x/" for one in (*spec["initContainers"], *spec["containers"]))
