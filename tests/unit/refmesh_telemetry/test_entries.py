"""Entries of access logs: those that Envoy writes are read, and nothing that a client sends makes another one."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from refmesh.discovery.access_logs import access_log
from refmesh.discovery.observation import Observation
from refmesh.discovery.settings import MeshSettings
from refmesh.telemetry.entries import is_foreign, read
from tests.unit.refmesh_discovery.guarded_envoy import envoy_with

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
JSON = {
    "direction": "inbound", "start_time": "2026-11-27T19:18:13.335Z", "duration": 12, "response_flags": "-",
    "downstream_remote_address": "10.1.0.7:4711", "downstream_peer_uri_san": "spiffe://cluster.local/ns/shop/sa/cart",
    "upstream_cluster": "inbound|8080||", "method": "GET", "path": "/pay/7?token=s3cret", "response_code": 200,
    "trace_id": TRACE,
}  # fmt: skip
AROUND = '"10.1.0.2:8080" outbound|80|v1|reviews.shop.svc.cluster.local 10.1.0.9:80 10.1.0.1:555 route'
TEXT = f'[2026-11-27T19:18:13.335Z] "GET /pay?token=x HTTP/1.1" 503 no_healthy UH,URX 0 19 4 "%s" "id" "shop" {AROUND}'


def manager(settings: MeshSettings, direction: str) -> dict[str, Any]:
    """A listener that answers by itself, and logs as refmesh's do."""
    kind = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 418}}
    config = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": direction,
        "access_log": [MessageToDict(log) for log in access_log(settings, direction, http=True)],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
        ],
    }
    return {
        "name": direction,
        "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": config}]}],
    }


@pytest.mark.parametrize("text", [False, True])
def test_what_envoy_writes_is_read(tmp_path: Path, text: bool) -> None:
    settings = replace(MeshSettings(), text_log=text).observing(Observation(sampling=1.0))
    forged = '" 200 - - 0 0 1 "x" "id" "host" "10.0.0.1:1" outbound|80||bank.shop.svc.cluster.local a b c'
    with envoy_with([manager(settings, "inbound")], tmp_path) as envoy:
        envoy.ask("inbound", "/a/b?token=s3cret", method="PUT", headers=f"user-agent: {forged}")
        deadline = time.monotonic() + 20
        while not (found := list(filter(None, map(read, envoy.log.read_text().splitlines())))):
            assert time.monotonic() < deadline, envoy.log.read_text()[-3000:]
            time.sleep(0.02)
    (entry,) = found
    assert (entry.method, entry.path, entry.code) == ("PUT", "/a/b", 418)
    assert entry.direction == ("" if text else "inbound")
    assert not entry.peer.startswith("bank")


def test_both_forms_say_who_what_and_how() -> None:
    entry = read(json.dumps(JSON))
    assert entry is not None
    assert (entry.direction, entry.path, entry.peer, entry.verified) == ("inbound", "/pay/7", "cart.shop", True)
    assert (entry.code, entry.flags, entry.milliseconds, entry.trace) == (200, "", 12, TRACE)
    entry = read(TEXT % "curl")
    assert entry is not None
    assert (entry.direction, entry.path, entry.peer, entry.verified) == ("outbound", "/pay", "reviews.shop (v1)", False)
    assert (entry.code, entry.flags, entry.milliseconds, entry.trace) == (503, "UH,URX", 4, "")
    entry = read(f'[2026-11-27T19:18:13.335Z] "- - -" 0 - UF 5 7 88 {AROUND}')
    assert entry is not None
    assert (entry.method, entry.path, entry.code, entry.milliseconds) == ("", "", 0, 88)


@pytest.mark.parametrize("target", ["/a?b", "/a#b", "/a;jsessionid=b", "http://host/a?b", "https://u:p@host/a;b"])
def test_of_a_target_only_the_path_is_kept(target: str) -> None:
    entry = read(json.dumps({**JSON, "path": target}))
    assert entry is not None
    assert entry.path == "/a"


@pytest.mark.parametrize("path", ['/a"b', '/"', "/a\u3000b\x85", '/x"200"'])
def test_no_target_hides_a_request(path: str) -> None:
    usual = read(TEXT % "curl")
    assert usual is not None
    assert read((TEXT % "curl").replace("/pay?token=x", path)) == replace(usual, path=path)


def test_half_a_character_is_replaced() -> None:
    entry = read(json.dumps({**JSON, "path": "/\ud800\U0001f600", "method": "G\udfff", "response_flags": "\ud83d"}))
    assert entry is not None
    assert (entry.path, entry.method, entry.flags) == ("/\ufffd\U0001f600", "G\ufffd", "\ufffd")


def test_other_lines_are_told_apart() -> None:
    for own in ("refmesh-agent: ready", "2026-11-27T19:18:13.335 warning envoy main late", "", "  "):
        assert read(own) is None
        assert not is_foreign(own)
    for other in ("{}", "[]", "GET /", '{"a"', '{"a":' * 50_000, TEXT % "curl" + '"', "{" + "x" * 200_000):
        assert read(other) is None
        assert is_foreign(other)
    assert not is_foreign(TEXT % "curl")


ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(JSON, ANY)))
def test_any_object_is_an_entry_or_none(found: dict[str, Any]) -> None:
    for line in (json.dumps(found), json.dumps({**JSON, **found})):
        entry = read(line)
        assert entry is None or (0 <= entry.code <= 999 and "?" not in entry.path)


@given(st.text() | st.text(alphabet='[]{}" -:0123456789TZ|'))
def test_any_line_is_an_entry_or_none(line: str) -> None:
    assert read(line) is None or not is_foreign(line)


@given(st.text(alphabet=st.characters(blacklist_characters="\n\r")))
def test_a_client_changes_nothing_but_its_own_words(agent: str) -> None:
    assert read(TEXT % agent.replace("%", "")) == read(TEXT % "curl")
