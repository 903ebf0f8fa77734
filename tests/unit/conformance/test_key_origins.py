"""Whence Envoys have their keys, by dumps in which every key is redacted."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from conformance.checks.key_origins import origins
from conformance.forgery import forge
from refmesh.agent.bootstrap import sds_config

CHAIN = forge("spiffe://t/ns/a/sa/b").chain
REDACTED = {"inline_bytes": base64.b64encode(b"[redacted]").decode()}
PIPE = {"pipe": {"path": "./var/run/secrets/workload-spiffe-uds/socket"}}


def socket(address: str) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": 15012}}


def dump(source: dict[str, Any], at: dict[str, Any] = PIPE) -> str:
    """A listener whose certificate comes from a source, the cluster `sds-grpc`, and the secret as it was given."""
    secret = {"name": "default", "sds_config": source}
    tls = {"common_tls_context": {"tls_certificate_sds_secret_configs": [secret]}}
    certificate = {"certificate_chain": {"inline_bytes": base64.b64encode(CHAIN.encode()).decode()}}
    held = {"name": "default", "tls_certificate": {**certificate, "private_key": REDACTED}}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": at}}]}
    cluster = {"name": "sds-grpc", "load_assignment": {"cluster_name": "sds-grpc", "endpoints": [endpoint]}}
    return json.dumps(
        {
            "configs": [
                {"@type": "x/envoy.admin.v3.ClustersConfigDump", "static_clusters": [{"cluster": cluster}]},
                {"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [{"transport_socket": tls}]},
                {"@type": "x/envoy.admin.v3.SecretsConfigDump", "dynamic_active_secrets": [{"secret": held}]},
            ]
        }
    )


@pytest.mark.parametrize(
    ("source", "at", "local"),
    [
        (sds_config(), PIPE, True),  # as refmesh's and Istio's agents do
        (sds_config(), socket("127.0.0.1"), True),
        (sds_config(), socket("::1"), True),
        (sds_config(), socket("10.0.0.7"), False),
        (sds_config(), socket("istiod.istio-system.svc"), False),
        ({"ads": {}}, PIPE, False),
        ({"path_config_source": {"path": "/etc/certs/sds.yaml"}}, PIPE, True),
        ({"api_config_source": {"grpc_services": [{"google_grpc": {"target_uri": "ca.mesh:15012"}}]}}, PIPE, False),
        ({"api_config_source": {"grpc_services": [{"google_grpc": {"target_uri": "unix:///run/sds"}}]}}, PIPE, True),
    ],
)
def test_a_secrets_source_is_within_the_pod_or_not(source: dict[str, Any], at: dict[str, Any], local: bool):
    (found,) = origins(dump(source, at))
    assert (found.local, found.chain) == (local, CHAIN)


@pytest.mark.parametrize(("part", "found"), [("dynamic_listeners", [CHAIN]), ("static_listeners", [])])
def test_a_key_that_was_sent_inline_shows_though_it_is_redacted(part: str, found: list[str]):
    pair = {"certificate_chain": {"inline_string": CHAIN}, "private_key": {"inline_string": "[redacted]"}}
    from_file = {"certificate_chain": {"filename": "/c"}, "private_key": {"filename": "/k"}}
    tls = {"common_tls_context": {"tls_certificates": [pair, from_file]}}
    text = json.dumps({"configs": [{"@type": "x/envoy.admin.v3.ListenersConfigDump", part: [tls]}]})
    assert [one.chain for one in origins(text) if not one.local] == found


@pytest.mark.parametrize("text", ["", "cluster.a: 1", "[]", '{"configs": 1}', '{"stats": []}'])
def test_other_pages_say_nothing(text: str):
    assert origins(text) == ()
