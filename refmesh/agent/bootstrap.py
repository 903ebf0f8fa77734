"""Envoy's static configuration as a pure function of the sidecar's settings.

Static is only what Envoy needs to reach its sources: the control plane (delta ADS over mTLS), the agent (secrets), its
own admin port and the readiness listener. Everything else comes over ADS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refmesh.agent import statistics
from refmesh.agent.places import ADMIN_PORT, READY_PORT
from refmesh.ca import hints

if TYPE_CHECKING:
    from refmesh.agent.settings import Settings

__all__ = ["RUNTIME", "bootstrap", "sds_config"]

RUNTIME = {
    "layers": [
        {
            "name": "static",
            # Access rules ask for all values of a repeated header or for any, as the rule needs; asked one by one,
            # Envoy would let in whoever sends the wanted value among others.
            "static_layer": {
                "envoy.reloadable_features.rbac_match_headers_individually": False,
                # The control plane measures regular expressions; by default Envoy refuses all routes for one of 101.
                "re2.max_program_size.error_level": 100_000,
            },
        }
    ]
}
"""Choices between behaviours of Envoy. `refmesh.discovery.matchers` relies on them."""

_TYPE = "type.googleapis.com/"
_MAX_CONNECTIONS = 50_000
_WATCHDOG = {"miss_timeout": "5s", "megamiss_timeout": "10s"}
_HTTP_OPTIONS = f"{_TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def bootstrap(settings: Settings) -> dict[str, Any]:
    """Return the bootstrap as JSON-able data."""
    # Without a limit: a proxy that has no configuration yet must not call itself ready.
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": _node(settings),
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [_grpc_service("xds-grpc", max_backoff="1s")],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [_xds_cluster(settings), _sds_cluster(settings), _admin_cluster()],
            "listeners": [_ready_listener(), _hints_listener(settings)],
        },
        "layered_runtime": RUNTIME,
        **({} if settings.statistics == "all" else statistics.settings()),
        # They only count how often a thread is late, for which each wakes ten times a second by default.
        "watchdogs": dict.fromkeys(("main_thread_watchdog", "worker_watchdog"), _WATCHDOG),
        # Peers cannot use up the proxy's memory with connections alone.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPE}envoy.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": _MAX_CONNECTIONS,
                    },
                }
            ]
        },
    }


def sds_config() -> dict[str, Any]:
    """Where secrets come from: the agent's socket, state of the world."""
    return {
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [_grpc_service("sds-grpc", max_backoff="1s")],
        },
    }


def _grpc_service(cluster: str, *, max_backoff: str) -> dict[str, Any]:
    """A source of configuration. Envoy's own limit of 30 s between attempts would delay recovery by as much."""
    backoff = {"base_interval": "0.2s", "max_interval": max_backoff}
    return {"envoy_grpc": {"cluster_name": cluster, "retry_policy": {"retry_back_off": backoff}}}


def _node(settings: Settings) -> dict[str, Any]:
    return {
        "id": settings.node,
        "cluster": f"{settings.app or settings.pod}.{settings.namespace}",
        "metadata": {
            "NAME": settings.pod,
            "NAMESPACE": settings.namespace,
            "SERVICE_ACCOUNT": settings.service_account,
            "POD_IP": settings.pod_ip,
        },
    }


def _xds_cluster(settings: Settings) -> dict[str, Any]:
    return {
        "name": "xds-grpc",
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "connect_timeout": "2s",
        "load_assignment": _endpoint("xds-grpc", _address(settings.control_plane, settings.ads_port)),
        "typed_extension_protocol_options": _http2(keepalive=True),
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": settings.control_plane,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": sds_config()}],
                    "combined_validation_context": {
                        "default_validation_context": {
                            "match_typed_subject_alt_names": [
                                {"san_type": "DNS", "matcher": {"exact": settings.control_plane}}
                            ]
                        },
                        "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": sds_config()},
                    },
                },
            },
        },
    }


def _sds_cluster(settings: Settings) -> dict[str, Any]:
    return {
        "name": "sds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _endpoint("sds-grpc", {"pipe": {"path": settings.sds_socket}}),
        "typed_extension_protocol_options": _http2(),
    }


def _admin_cluster() -> dict[str, Any]:
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _endpoint("admin", _address("127.0.0.1", ADMIN_PORT)),
    }


def _ready_listener() -> dict[str, Any]:
    """`GET :15021/healthz/ready` from outside is `GET /ready` of the admin port, and nothing else of it is."""
    route = {"match": {"path": "/healthz/ready"}, "route": {"cluster": "admin", "prefix_rewrite": "/ready"}}
    return _http_listener("ready", _address("0.0.0.0", READY_PORT), route)  # noqa: S104  (the kubelet is outside)


def _hints_listener(settings: Settings) -> dict[str, Any]:
    """The agent asks the control plane through Envoy, which has the certificate and TLS; and asks this one question.

    The socket is in the proxy container's own volume. The control plane holds questions back: no timeout.
    """
    route = {"match": {"path": hints.METHOD}, "route": {"cluster": "xds-grpc", "timeout": "0s"}}
    return _http_listener("hints", {"pipe": {"path": settings.hints_socket, "mode": 0o600}}, route, codec="HTTP2")


def _http_listener(name: str, address: dict[str, Any], route: dict[str, Any], codec: str = "AUTO") -> dict[str, Any]:
    """A listener with one route."""
    manager = {
        "@type": f"{_TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": codec,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": address, "filter_chains": [chain]}


def _http2(*, keepalive: bool = False) -> dict[str, Any]:
    options: dict[str, Any] = {"connection_keepalive": {"interval": "30s", "timeout": "10s"}} if keepalive else {}
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": _HTTP_OPTIONS,
            "explicit_http_config": {"http2_protocol_options": options},
        }
    }


def _endpoint(cluster: str, address: dict[str, Any]) -> dict[str, Any]:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
