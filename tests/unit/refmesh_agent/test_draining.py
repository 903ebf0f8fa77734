"""What a proxy that is told to stop waits for."""

from __future__ import annotations

import http.client

from refmesh.agent import admin
from tests.unit.refmesh_discovery.guarded_envoy import envoy_with
from tests.unit.refmesh_ingress.test_gateway_policy_changes import door


def test_a_gateways_connections_count_at_whatever_port_it_opened(tmp_path, monkeypatch):
    made = door("front", guarded=False, routed=False)
    made["address"]["socketAddress"]["address"] = "0.0.0.0"
    with envoy_with([made], tmp_path) as envoy:
        monkeypatch.setattr(admin, "ADMIN_PORT", int((tmp_path / "admin").read_text().rpartition(":")[2]))
        assert admin.active_connections() == 0
        connection = http.client.HTTPConnection("127.0.0.1", envoy.ports["front"], timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b""
        assert admin.active_connections() == 1
        connection.close()
