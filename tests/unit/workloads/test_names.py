"""Names are resolved once for all who want them at the same time, and no failure or impatience of one is another's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fixtures.workloads.pod import names
from fixtures.workloads.pod.names import Names


class Server:
    """Answers when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> None:
        self.answers, self.asked, self.go = list(answers), list[str](), asyncio.Event()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo)

    async def getaddrinfo(self, host: str, _port: None, **_: Any) -> list[Any]:
        self.asked.append(host)
        await self.go.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]


async def test_a_crowd_asks_once_and_a_later_batch_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    server, known = Server(monkeypatch, "10.0.0.1", "10.0.0.2"), Names()
    crowd = [asyncio.create_task(known.address("shop.in")) for _ in range(24)]
    await asyncio.sleep(0)
    server.go.set()
    assert set(await asyncio.gather(*crowd)) == {"10.0.0.1"}
    assert await known.address("shop.in") == "10.0.0.1"
    assert await known.address("other.in") == "10.0.0.2"
    assert server.asked == ["shop.in", "other.in"]


async def test_an_answer_is_used_no_longer_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NAME_SECONDS", -1.0)
    server, known = Server(monkeypatch, "10.0.0.1", "10.0.0.2"), Names()
    server.go.set()
    assert [await known.address("shop.in"), await known.address("shop.in")] == ["10.0.0.1", "10.0.0.2"]


async def test_a_failure_is_everybody_s_who_waits_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    server, known = Server(monkeypatch, socket.gaierror("no such name"), "10.0.0.1"), Names()
    server.go.set()
    crowd = [known.address("late.in") for _ in range(3)]
    assert [type(found) for found in await asyncio.gather(*crowd, return_exceptions=True)] == [socket.gaierror] * 3
    assert await known.address("late.in") == "10.0.0.1"


async def test_one_that_runs_out_of_time_takes_the_answer_from_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    server, known = Server(monkeypatch, "10.0.0.1"), Names()
    hasty, patient = (asyncio.create_task(known.address("slow.in")) for _ in range(2))
    await asyncio.sleep(0)
    hasty.cancel()
    await asyncio.sleep(0)
    server.go.set()
    assert await patient == "10.0.0.1"
    assert hasty.cancelled()
    assert server.asked == ["slow.in"]


async def test_a_known_address_serves_while_the_name_server_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NAME_SECONDS", -1.0)
    monkeypatch.setattr(names, "PATIENCE", 0.01)
    server, known = Server(monkeypatch, "10.0.0.1", "10.0.0.2"), Names()
    server.go.set()
    assert await known.address("shop.in") == "10.0.0.1"
    server.go.clear()
    assert [await known.address("shop.in") for _ in range(3)] == ["10.0.0.1"] * 3
    assert server.asked == ["shop.in", "shop.in"]  # the three wait for one question
    server.go.set()
    await asyncio.sleep(0.1)
    monkeypatch.setattr(names, "NAME_SECONDS", 60.0)
    assert await known.address("shop.in") == "10.0.0.2"
    assert server.asked == ["shop.in", "shop.in"]


async def test_nothing_is_kept_for_long_and_a_name_that_is_gone_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NAME_SECONDS", -1.0)
    server, known = Server(monkeypatch, "10.0.0.1", socket.gaierror("no such name"), "10.0.0.3"), Names()
    server.go.set()
    assert await known.address("shop.in") == "10.0.0.1"
    with pytest.raises(socket.gaierror):
        await known.address("shop.in")
    monkeypatch.setattr(names, "PATIENCE", 0.0)
    monkeypatch.setattr(names, "KEPT_SECONDS", 0.0)
    server.go.clear()
    late = asyncio.create_task(known.address("shop.in"))
    await asyncio.sleep(0.05)
    assert not late.done()
    server.go.set()
    assert await late == "10.0.0.3"
