from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cluster.embedded import host
from fixtures.cluster.embedded.network import Addresses


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def test_a_process_is_ended_and_collected() -> None:
    process = sleeper()
    start = host.process_start(process.pid)
    assert start is not None
    host.end_process(process.pid, start)
    assert not Path(f"/proc/{process.pid}").exists()
    process.communicate()


def test_a_process_that_took_over_the_number_is_left_alone() -> None:
    process = sleeper()
    start = host.process_start(process.pid)
    assert start is not None
    host.end_process(process.pid, start - 1)
    assert process.poll() is None
    process.communicate()


def test_a_process_is_given_time_to_end_by_itself() -> None:
    process = sleeper()
    start = host.process_start(process.pid)
    assert start is not None
    assert process.stdin is not None
    process.stdin.close()
    host.end_process(process.pid, start, patience=20)
    assert not Path(f"/proc/{process.pid}").exists()
    process.wait()


def test_a_process_that_does_not_exist_never_began() -> None:
    assert host.process_start(2**22 + 1) is None
    assert host.process_start(os.getpid()) is not None


def test_the_links_end_has_an_address_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
        called.append(" ".join(arguments))
        return subprocess.CompletedProcess((), 0, "", "")

    monkeypatch.setattr(host, "_ip", ip)
    assert host.add_link(Addresses(7), 42)
    assert called == [
        "link add meshproof7 address 02:00:0a:d5:07:01 type veth peer name eth0 netns 42",
        "address add 10.213.7.1/25 dev meshproof7",
        "link set meshproof7 up",
        "route add 10.213.7.128/25 via 10.213.7.2 dev meshproof7",
    ]


@pytest.mark.parametrize(
    ("code", "out", "error", "why"),
    [
        (0, '[{"dev": "meshproof0"}]', "", ""),
        (0, '[{"dev": "tun0", "table": "52"}]', "", "the host's routing table 52 sends it to tun0"),
        (0, '[{"dev": "tun0"}]', "", "the host's routing table main sends it to tun0"),
        (2, "", "RTNETLINK answers: No route to host\n", "the host's routing: RTNETLINK answers: No route to host"),
    ],
)
def test_what_leads_packets_astray_is_named(
    monkeypatch: pytest.MonkeyPatch, code: int, out: str, error: str, why: str
) -> None:
    monkeypatch.setattr(host, "_ip", lambda *_: subprocess.CompletedProcess((), code, out, error))
    assert host.astray("10.213.0.2", "meshproof0") == why


def test_memory_is_told() -> None:
    assert host.available_memory() > 1 << 20
