from __future__ import annotations

from refmesh.agent.admin import _unchunk
from refmesh.install.proxies import rows_of, section, status_row

DUMP = {
    "configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "version_info": "1",
            "static_clusters": [{"cluster": {"name": "xds-grpc", "type": "STRICT_DNS"}}],
            "dynamic_active_clusters": [{"cluster": {"name": "outbound|80||a.b", "type": "EDS"}}],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": [
                {
                    "name": "virtualInbound",
                    "active_state": {
                        "listener": {"address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}}}
                    },
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
            "dynamic_endpoint_configs": [
                {
                    "endpoint_config": {
                        "cluster_name": "outbound|80||a.b",
                        "endpoints": [
                            {
                                "locality": {"region": "r", "zone": "z"},
                                "priority": 1,
                                "lb_endpoints": [
                                    {
                                        "endpoint": {
                                            "address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
                                        },
                                        "health_status": "HEALTHY",
                                    }
                                ],
                            }
                        ],
                    }
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "dynamic_active_secrets": [
                {"name": "default", "last_updated": "now", "secret": {"tls_certificate": {"private_key": "k"}}}
            ],
        },
    ]
}


def test_a_table_has_one_line_for_each_resource():
    assert rows_of(DUMP, "cluster") == [
        {"name": "outbound|80||a.b", "type": "EDS", "state": "dynamic"},
        {"name": "xds-grpc", "type": "STRICT_DNS", "state": "static"},
    ]
    assert rows_of(DUMP, "endpoint") == [
        {
            "cluster": "outbound|80||a.b",
            "address": "10.0.0.1:80",
            "health": "HEALTHY",
            "priority": 1,
            "locality": "r/z",
        }
    ]
    assert rows_of(DUMP, "listener") == [{"name": "virtualInbound", "address": "0.0.0.0:15006", "state": "dynamic"}]


def test_secrets_come_without_their_content():
    assert rows_of(DUMP, "secret") == [{"name": "default", "updated": "now", "state": "dynamic"}]


def test_a_part_can_be_had_whole():
    assert [entry["@type"] for entry in section(DUMP, "cluster")] == [DUMP["configs"][0]["@type"]]
    assert section(DUMP, "bootstrap") == []


def test_chunked_pages_are_put_together():
    assert _unchunk(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n") == b"hello world"


def test_the_status_of_a_proxy_is_in_istioctls_words():
    types = {
        "CDS": {"acknowledged": True, "rejected": ""},
        "LDS": {"acknowledged": False, "rejected": "bad"},
        "EDS": {},
        "RDS": {"acknowledged": True, "rejected": "bad", "kept": 3},
    }
    assert status_row({"proxy": "cart.shop", "types": types}) == {
        "proxy": "cart.shop",
        "CDS": "SYNCED",
        "LDS": "REJECTED: bad",
        "EDS": "STALE",
        "RDS": "REJECTED: bad (3 resources)",
    }
    assert status_row({})["RDS"] == "NOT SENT"
