from __future__ import annotations

from typing import Any, cast

import pytest

from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.install import debug
from refmesh.install.debug import ask_replicas, debug_pages
from refmesh.kubeclient import Kube


class FakeKube:
    """An API server with control planes, which lets nobody forward a port."""

    def __init__(self, *pods: str) -> None:
        self.pods = [{"metadata": {"name": name}, "status": {"phase": "Running"}} for name in pods]

    async def list(self, *_where: str, selector: str) -> list[dict[str, Any]]:
        assert selector == "app=refmesh"
        return self.pods

    def port_stream(self, *_where: Any) -> Any:
        raise OSError("no forwarding for you")


async def test_why_there_is_no_page_is_said_with_the_right_it_takes() -> None:
    with pytest.raises(EnvironmentProblem, match="no forwarding for you") as caught:
        await debug_pages(cast("Kube", FakeKube("a", "b")), "proxies")
    assert "pods/portforward" in caught.value.fix


async def test_without_a_control_plane_there_is_nothing_to_ask() -> None:
    with pytest.raises(UsageProblem, match="not installed"):
        await debug_pages(cast("Kube", FakeKube()), "proxies")


async def test_replicas_that_do_not_answer_are_counted_unless_they_are_about_to_go(monkeypatch: Any) -> None:
    async def page(_kube: Kube, pod: str, _name: str) -> list[str]:
        if pod != "a":
            raise EnvironmentProblem("no answer", fix="")
        return ["cart.shop"]

    monkeypatch.setattr(debug, "_page", page)
    kube = FakeKube("a", "b", "c")
    kube.pods[2]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert await ask_replicas(cast("Kube", kube), "proxies") == ([["cart.shop"]], 1)
