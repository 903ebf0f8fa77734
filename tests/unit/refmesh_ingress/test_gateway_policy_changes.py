"""What a real Envoy answers at a gateway while a policy comes or goes: its listener is sent first, then its routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.guarded_envoy import envoy_with
from tests.unit.refmesh_discovery.helpers import all_messages, policy
from tests.unit.refmesh_discovery.test_envoy_accepts import inline_routes
from tests.unit.refmesh_ingress.doorways import route, with_gateway

DOOR = ("shop", "front-1")
DENY = {"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["PUT"]}}]}]}


def door(name: str, *, guarded: bool, routed: bool) -> dict[str, Any]:
    """The listener of a gateway with or without a policy, and routes of one with or without."""
    worlds = []
    for policed in (guarded, routed):
        cluster = with_gateway().put("HTTPRoute", route())
        if policed:
            cluster.put("AuthorizationPolicy", policy("p", DENY))
        worlds.append(cluster.world())
    (listener,) = map(MessageToDict, all_messages(worlds[0], DOOR, ResourceType.LISTENER).values())
    found = {key: MessageToDict(item) for key, item in all_messages(worlds[1], DOOR, ResourceType.ROUTE).items()}
    for table in found.values():
        for host in table["virtualHosts"]:
            for item in host["routes"]:
                del item["route"]
                item["directResponse"] = {"status": 200}
    inline_routes(listener, found)
    return {**listener, "name": name, "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}}


def test_nobody_is_refused_while_a_policy_comes_or_goes(tmp_path: Path) -> None:
    doors = [
        door("none", guarded=False, routed=False),
        door("comes or went", guarded=True, routed=False),
        door("goes", guarded=False, routed=True),
        door("there", guarded=True, routed=True),
    ]
    with envoy_with(doors, tmp_path) as envoy:
        got = {item["name"]: envoy.ask(item["name"]).status for item in doors}
        put = {item["name"]: envoy.ask(item["name"], method="PUT").status for item in doors}
    assert got == {"none": 200, "comes or went": 200, "goes": 200, "there": 200}
    assert put == {"none": 200, "comes or went": 200, "goes": 200, "there": 403}
