"""Which of Envoy's statistics a sidecar has: those that it shows, and few others.

Envoy has over a hundred for each cluster and thirty for each listener, and a sidecar has both for every port of every
Service. To make their names, to take them apart into tags and to go through them every five seconds was half of what a
change of configuration cost an idle proxy, and all of what it cost at rest. The annotation
`proxy.refmesh.io/statistics: all` lets a pod's proxy have them all.
"""

from __future__ import annotations

from typing import Any

__all__ = ["OF_CLUSTERS", "settings"]

OF_CLUSTERS = (
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "upstream_rq_pending_overflow",
    "upstream_rq_retry",
    "upstream_rq_retry_overflow",
    "upstream_cx_active",
    "upstream_cx_overflow",
    "upstream_cx_connect_fail",
    "outlier_detection.ejections_active",
    "outlier_detection.ejections_enforced_total",
    "outlier_detection.ejections_overflow",
    "circuit_breakers.default.cx_open",
    "circuit_breakers.default.rq_open",
    "circuit_breakers.default.rq_pending_open",
    "circuit_breakers.default.rq_retry_open",
    "ssl.handshake",
    "ssl.connection_error",
    "ssl.fail_verify_cert_hash",
    "ssl.fail_verify_error",
    "ssl.fail_verify_no_cert",
    "ssl.fail_verify_san",
)
"""What is told of every cluster."""

# Of the proxy as a whole: what is told (the agent's scrape), what ends a drain, and what people look at on the admin
# port. Prefixes that end with a dot cost Envoy next to nothing.
_PREFIXES = (
    "istio.",
    "cluster_manager.",
    "listener_manager.",
    "control_plane.",
    "server.",
    "sds.",
    "cluster.xds-grpc.",
    "listener.0.0.0.0_",
    "http.inbound_",
    "http.outbound.downstream_",
    "http.gateway.downstream_",
)


def settings() -> dict[str, Any]:
    """The part of the bootstrap that says so."""
    wanted = [*({"prefix": name} for name in _PREFIXES), *({"suffix": f".{name}"} for name in OF_CLUSTERS)]
    return {
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": wanted}},
            # Those of the mesh's own metrics come ready made; the other default tags belong to nothing that is told.
            "use_all_default_tags": False,
            "stats_tags": [{"tag_name": "envoy.cluster_name"}],
        },
        # Those of traffic only once there is traffic.
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
    }
