"""The first process of a node, run as the program it is, without namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.cluster.embedded import node
from fixtures.kube import eventually

DRIVER = """
import json, sys, threading
sys.path.insert(0, {directory!r})
import node
supervisor = node.Supervisor(json.loads(sys.stdin.readline()))
supervisor.start()
threading.Thread(target=lambda: (sys.stdin.read(), __import__("os")._exit(0)), daemon=True).start()
supervisor.reap()
"""


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Any]:
    """Start a supervisor with the plan that the test gives."""
    started: list[subprocess.Popen[str]] = []

    def begin(programs: list[dict[str, Any]], gates: dict[str, Any] | None = None) -> None:
        plan = {"logs": str(tmp_path), "gates": gates or {}, "programs": programs, "environment": {"WHO": "me"}}
        driver = DRIVER.format(directory=str(Path(node.__file__).parent))
        process = subprocess.Popen([sys.executable, "-c", driver], stdin=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()

    yield begin
    for process in started:
        process.communicate()


def program(name: str, shell: str, *after: str, once: bool = False) -> dict[str, Any]:
    return {"name": name, "argv": ["/bin/sh", "-c", shell], "after": list(after), "once": once}


def test_programs_start_when_what_they_wait_for_is_there(supervised: Any, tmp_path: Path) -> None:
    gates = {"door": {"kind": "path", "path": str(tmp_path / "door")}}
    supervised([
        program("third", f"echo third $WHO >> {tmp_path}/out; exec sleep 60", "second"),
        program("second", f"echo second >> {tmp_path}/out", "door", once=True),
        program("first", f"echo first >> {tmp_path}/out; touch {tmp_path}/door; exec sleep 60"),
    ], gates)  # fmt: skip
    out = tmp_path / "out"
    eventually(lambda: out.exists() and out.read_text() == "first\nsecond\nthird me\n", timeout=20, what="all three")


def test_a_program_that_ends_is_started_again_and_its_output_kept(supervised: Any, tmp_path: Path) -> None:
    supervised([program("short", "echo again; echo no >&2; exit 3")])
    log = tmp_path / "short.log"
    eventually(lambda: log.exists() and log.read_text().count("again\nno\n") >= 3, timeout=20, what="three starts")
    assert "short ended with 3; again in" in (tmp_path / "node.log").read_text()


def test_a_task_that_fails_is_tried_again(supervised: Any, tmp_path: Path) -> None:
    supervised([
        program("task", f"test -e {tmp_path}/mark || {{ touch {tmp_path}/mark; exit 1; }}", once=True),
        program("next", f"touch {tmp_path}/done; exec sleep 60", "task"),
    ])  # fmt: skip
    eventually((tmp_path / "done").exists, timeout=20, what="the program after the task")


def test_orphans_are_collected(supervised: Any, tmp_path: Path) -> None:
    # Nobody but the first process of a PID namespace gets orphans; here it is enough that strangers do no harm.
    supervised([program("forks", f"(sleep 0.1; touch {tmp_path}/late) & exec sleep 60")])
    eventually((tmp_path / "late").exists, timeout=20, what="the orphan's work")


def test_it_ends_when_its_starter_does_before_giving_it_a_plan() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", node.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "up\n"
        process.stdin.close()
        assert process.wait(timeout=20) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_what_the_host_has_stays_in_reach_below_a_private_directory(tmp_path: Path) -> None:
    """In a mount namespace of its own, all of it shared as the node's is."""
    (tmp_path / "lib" / "kept").mkdir(parents=True)
    (tmp_path / "lib" / "kept" / "file").write_text("still here")
    (tmp_path / "lib" / "kubelet").mkdir()
    (tmp_path / "stash").mkdir()
    program = (
        "import node; node._run('mount', '--make-rshared', '/');"
        f" node._private_tmpfs('{tmp_path}/lib', '{tmp_path}/stash')"
    )
    read = f'"$0" -c "$1" && cat {tmp_path}/lib/kept/file && touch {tmp_path}/lib/new && ls {tmp_path}/lib'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", read, sys.executable, program],
        capture_output=True, text=True, check=False, cwd=Path(node.__file__).parent,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("still herekept\nnew\n", "")
    assert not (tmp_path / "lib" / "new").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_the_kernels_settings_seem_as_wanted_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "sys" / "vm").mkdir(parents=True)
    (tmp_path / "stash").mkdir()
    differs, agrees = tmp_path / "sys" / "vm" / "overcommit", tmp_path / "sys" / "vm" / "panic"
    differs.write_text("2\n")
    agrees.write_text("0\n")
    wanted = {"vm.overcommit": "1", "vm.panic": "0", "vm.missing": "1"}
    program = f"import node; node._pretend({wanted}, {str(tmp_path / 'stash')!r}, {str(tmp_path / 'sys')!r})"
    read = f'"$0" -c "$1" && cat {differs} {agrees} && echo 5 >{differs} && cat {differs} && cat /proc/self/mounts'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", read, sys.executable, program],
        capture_output=True, text=True, check=False, cwd=Path(node.__file__).parent,
    )  # fmt: skip
    assert done.stdout.startswith("1\n0\n5\n"), done.stderr
    assert str(differs) in done.stdout
    assert str(agrees) not in done.stdout
    assert (differs.read_text(), agrees.read_text()) == ("2\n", "0\n")


def test_a_path_is_a_gate(tmp_path: Path) -> None:
    probe = node._gate({"kind": "path", "path": str(tmp_path / "socket")})
    assert not probe()
    (tmp_path / "socket").touch()
    assert probe()


def test_a_server_is_a_gate_only_with_the_right_answer(tmp_path: Path) -> None:
    import http.server
    import ssl

    from fixtures.cluster.embedded.certificates import Authority

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path == "/empty" else 200)
            self.end_headers()
            self.wfile.write(b"ok" if self.path == "/readyz" else b"")

        def log_message(self, *_: object) -> None:
            pass

    authority = Authority("test")
    authority.pair.write(tmp_path, "ca")
    authority.issue("server", hosts=["127.0.0.1"]).write(tmp_path, "server")
    authority.issue("client").write(tmp_path, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def answers(path: str) -> bool:
            return node._answers({
                "port": str(server.server_port), "path": path, "text": "ok", "ca": str(tmp_path / "ca.crt"),
                "certificate": str(tmp_path / "client.crt"), "key": str(tmp_path / "client.key"),
            })  # fmt: skip

        try:
            assert answers("/readyz")
            assert not answers("/empty")
            assert not answers("/other")
        finally:
            server.shutdown()
