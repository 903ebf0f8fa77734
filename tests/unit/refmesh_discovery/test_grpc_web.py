"""Ports that are said to get gRPC-Web: proxies make gRPC of it, and the application hears that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from refmesh.discovery.resource import ResourceType
from refmesh.discovery.upstream_http import HTTP_OPTIONS
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, endpoint_slice, pod, service
from tests.unit.refmesh_discovery.test_envoy_accepts import static_bootstrap
from tests.unit.refmesh_discovery.validating import complaint

TRANSLATES = "envoy.filters.http.grpc_web"


def named(port: str) -> MemoryCluster:
    """A Service with a port of that name."""
    own = pod("echo-v1")
    cluster = MemoryCluster().put("Service", service("echo", ports={port: (80, 8080)})).put("Pod", own)
    return cluster.put("EndpointSlice", endpoint_slice("echo", [own], ports={port: 8080}))


def translating(listener: Any) -> dict[str, bool]:
    """By chain that has requests, whether it makes gRPC of gRPC-Web."""
    found = {}
    for chain in listener.filter_chains:
        manager = HttpConnectionManager()
        if chain.filters[-1].typed_config.Unpack(manager):
            names = [item.name for item in manager.http_filters]
            found[chain.name] = TRANSLATES in names
            assert names[-1] == "envoy.filters.http.router"
    return found


def explicit_http2(cluster: Any) -> bool:
    options = HttpProtocolOptions()
    assert cluster.typed_extension_protocol_options[HTTP_OPTIONS].Unpack(options)
    return bool(options.explicit_http_config.HasField("http2_protocol_options"))


@pytest.mark.parametrize(("port", "web"), [("grpc-web", True), ("grpc-web-x", True), ("grpc", False), ("http", False)])
def test_both_proxies_translate_on_ports_of_that_name_only(port: str, web: bool) -> None:
    world = named(port).world()
    listeners = all_messages(world, ("shop", "echo-v1"), ResourceType.LISTENER)
    inbound = {name: one for name, one in translating(listeners["virtualInbound"]).items() if name.startswith("8080")}
    assert set(translating(listeners["10.0.0.1_80"]).values()) == set(inbound.values()) == {web}
    clusters = all_messages(world, ("shop", "echo-v1"), ResourceType.CLUSTER)
    assert explicit_http2(clusters["outbound|80||echo.shop.svc.cluster.local"]) is (port != "http")
    assert explicit_http2(clusters["inbound|8080||"]) is web


def test_envoy_takes_it(tmp_path: Path) -> None:
    cluster = named("grpc-web").put("Namespace", {"metadata": {"name": "shop"}})
    assert not complaint(static_bootstrap(cluster), tmp_path)
