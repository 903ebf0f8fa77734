from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from chaos.faults import Toxic
from fixtures.kube import ForwardProblem

TOXIC = Toxic("x", "between-1", "echo", 8081, "latency")
PROXIES = {"echo": {"name": "echo", "upstream": "echo:9191", "enabled": True, "listen": ":8081"}}
TOXICS = [{"name": "meshproof-latency", "type": "latency"}]


class Pods:
    """A cluster with the server's pod, to which a port-forward leads or does not."""

    def __init__(self, problem=None):
        self.problem = problem
        self.deleted: list[str] = []

    def get(self, *_):
        return {"metadata": {"name": "between-1"}}

    @contextmanager
    def forward(self, *_):
        if self.problem:
            raise self.problem
        yield "127.0.0.1", 1

    def delete(self, _, kind, name, namespace):
        self.deleted.append(f"{namespace}/{kind}/{name}")
        return True


def undone(pods: Any):
    Toxic.undo(pods, TOXIC.plan(pods).arguments)
    return pods.deleted


@pytest.fixture
def server(monkeypatch):
    """The server's API, where it answers; gives the calls with their limits."""
    calls: list[tuple[str, Any]] = []

    def call(url, timeout=None, **_):
        calls.append((url, timeout))
        answer: Any = TOXICS if url.endswith("/toxics") else PROXIES
        return SimpleNamespace(status_code=200, content=b"", json=lambda: answer)

    for verb in ("get", "delete"):
        monkeypatch.setattr(requests, verb, call)
    return calls


def test_a_toxic_is_removed_and_its_server_stays(server):
    assert undone(Pods()) == []
    assert server[-1][0] == "http://127.0.0.1:1/proxies/echo/toxics/meshproof-latency"


def test_no_call_of_the_servers_api_waits_for_ever(server):
    undone(Pods())
    assert {timeout for _, timeout in server} == {5.0}


def test_a_server_that_does_not_answer_is_replaced(monkeypatch):
    def silent(**_):
        raise requests.ReadTimeout("read timed out")

    monkeypatch.setattr(requests, "get", silent)
    assert undone(Pods()) == ["x/Pod/between-1"]


def test_a_server_to_which_no_forward_leads_is_replaced():
    assert undone(Pods(ForwardProblem("the node is gone"))) == ["x/Pod/between-1"]
