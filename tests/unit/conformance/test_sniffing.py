"""Where a check looks for the traffic of a mesh, and what it makes of what it sees there."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.adapters import load
from conformance.checks.mtls_judges import Handshake, Refusal, judge_encrypted, summarise
from conformance.context import Context, Pod
from fixtures.workloads.pod.sniffer import Segment, Tally
from fixtures.workloads.traffic import Record
from reports.model import Verdict

ZTUNNEL = {"ztunnel": True}
ASKED = Handshake(8080, answered=True, client_certificate_requested=True)
TLS = b"\x17\x03\x03\x00\x01x"


class Wire:
    """A pod's interface: the sniffer takes orders, and what is put on the wire is counted as they say."""

    def __init__(self, mesh: str, settings: dict[str, Any] | None = None) -> None:
        self.ports: list[int] = []
        self.tally = Tally(frozenset(), b"")
        self.ctx = Context.__new__(Context)
        self.ctx.adapter = load(mesh, settings)
        vars(self.ctx)["_control"] = self.order

    def order(self, _pod: Pod, _port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/stop":
            return self.tally.to_json()
        self.ports = body["ports"]
        self.tally = Tally(frozenset(self.ports), body["marker"].encode())
        return {}

    def sniff(self, *segments: Segment) -> dict[str, Any]:
        def traffic() -> list[Record]:
            for one in segments:
                self.tally.add(one)
            return [Record(0.0, 0.1, status=200, reply={"path": "/mark"})]

        return self.ctx.sniff(Pod("server", "ns", "10.0.0.9", {}), 8080, "mark", traffic)


@pytest.mark.parametrize(
    ("mesh", "settings", "ports"),
    [
        ("linkerd", None, [8080, 4143]),
        ("consul", None, [8080, 20000]),
        ("cilium", ZTUNNEL, [8080, 15008]),
        ("cilium", None, [8080]),
        ("istio", None, [8080]),
        ("kuma", None, [8080]),
        ("refmesh", None, [8080]),
        ("none", None, [8080]),
    ],
)
def test_traffic_is_looked_for_where_the_mesh_brings_it(mesh, settings, ports):
    wire = Wire(mesh, settings)
    wire.sniff()
    assert wire.ports == ports


@pytest.mark.parametrize(
    ("port", "payload", "verdict"),
    [
        (4143, TLS, Verdict.PASS),
        (8080, TLS, Verdict.PASS),  # `transparent`, as before 2.18
        (4143, b"GET /mark", Verdict.FAIL),
        (8080, b"GET /mark", Verdict.FAIL),
    ],
)
def test_linkerds_traffic_is_judged_at_its_inbound_port_too(port, payload, verdict):
    seen = Wire("linkerd").sniff(Segment("peer", 1, "me", port, payload))
    found = summarise(seen, port=8080, meshed=True, token="mark")
    assert judge_encrypted(Refusal((found,), (ASKED,))).verdict is verdict
