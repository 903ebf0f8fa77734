"""What the pod programs cost, and what they must not drag along."""

import signal
import subprocess
import sys
import time

import pytest

from fixtures.workloads.traffic import Control
from tests.unit.workloads.helpers import ROOT, Echo, Program, running

HEAVY = {"kubernetes", "grpc", "aiohttp", "cryptography", "requests", "pydantic", "rich", "typer", "reports", "yaml"}


@pytest.mark.parametrize("module", ["echo", "client", "sniffer"])
def test_no_heavy_library_is_imported(module):
    code = f"import fixtures.workloads.pod.{module}, sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(listed.stdout.split())


@pytest.mark.parametrize(
    "start",
    [
        Echo,
        lambda: Program("client", CLIENT_CONTROL_PORT="0"),
        lambda: Program("sniffer", SNIFFER_CONTROL_PORT="0", SNIFFER_INTERFACE="lo"),
    ],
    ids=["echo", "client", "sniffer"],
)
def test_small_and_ends_when_told(start):
    with running(start()) as program:
        assert program.status_kib("VmRSS") < 40 * 1024
        program.terminate()
        assert program.wait() == 0


def test_it_tells_when_it_got_no_processor():
    with running(Program("client", CLIENT_CONTROL_PORT="0")) as program:
        control = Control.of_address("127.0.0.1", program.ports[0])
        begun = time.time()
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        program.process.send_signal(signal.SIGCONT)
        told = [one for one in control.stalls() if one[0] > begun - 0.5]
        control.close()
    at, seconds = max(told, key=lambda one: one[1])
    assert seconds > 1.0
    assert begun - 0.5 < at
    assert at + seconds <= time.time()


def test_a_taken_port_ends_the_program(tmp_path):
    with running(Program("client", CLIENT_CONTROL_PORT="0")) as first:
        second = subprocess.run(
            [sys.executable, "-m", "fixtures.workloads.pod.client"],
            cwd=ROOT,
            env={"CLIENT_CONTROL_PORT": str(first.ports[0])},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    assert second.returncode != 0
    assert "address already in use" in second.stderr
