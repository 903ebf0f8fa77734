"""Who may connect to which port in plaintext, also where a policy cannot be read or names an undeclared port."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, policy, service

ECHO = {"matchLabels": {"app": "echo"}}
STRICT, PERMISSIVE, DISABLE = ({"mode": mode} for mode in ("STRICT", "PERMISSIVE", "DISABLE"))


def inbound(*specs: Any) -> Any:
    """The inbound listener of the echo's pod under these policies."""
    cluster = MemoryCluster().with_echo().put("Service", service("echo", ports={"http": (80, 8080)}))
    for index, spec in enumerate(specs):
        cluster.put("PeerAuthentication", policy(f"p{index}", spec))
    return all_messages(cluster.world(), ("shop", "echo-v1"), ResourceType.LISTENER)["virtualInbound"]


def takes_plaintext(listener: Any, port: int) -> bool:
    """Whether a plaintext connection to a port finds a chain: of its own, else among those for other ports."""
    chains = [chain for chain in listener.filter_chains if chain.name != "loop"]
    own = [chain for chain in chains if chain.filter_chain_match.destination_port.value == port]
    others = [chain for chain in chains if not chain.filter_chain_match.HasField("destination_port")]
    return any(chain.filter_chain_match.transport_protocol == "raw_buffer" for chain in own or others)


@pytest.mark.parametrize(
    "spec",
    [
        {"mtls": STRICT, "portLevelMtls": {"9090": PERMISSIVE}},
        {"mtls": STRICT, "unknown": 1},
        {"mtls": {**STRICT, "unknown": 1}, "selector": ECHO},
        {"mtls": {"mode": "strict"}},
        {"mtls": "STRICT"},
        {"mtls": STRICT, "selector": {"matchLabels": {"app": 1}}},
        {"mtls": PERMISSIVE, "selector": {**ECHO, "matchExpressions": []}, "portLevelMtls": {"8080": STRICT}},
        {"portLevelMtls": {"8080": STRICT}},
        {"portLevelMtls": STRICT},
    ],
)
def test_what_cannot_be_read_and_says_strict_is_strict(spec: Any) -> None:
    listener = inbound(spec)
    assert not takes_plaintext(listener, 8080)
    assert not takes_plaintext(listener, 9999)


def test_what_cannot_be_read_is_strict_for_those_it_selects_alone() -> None:
    other = {"matchLabels": {"app": "other"}}
    assert takes_plaintext(inbound({"mtls": STRICT, "selector": other, "unknown": 1}), 8080)


@pytest.mark.parametrize(
    "spec", [{"mtls": PERMISSIVE, "unknown": 1}, {"mtls": DISABLE, "portLevelMtls": {"x": {}}}, []]
)
def test_what_cannot_be_read_opens_nothing(spec: Any) -> None:
    assert takes_plaintext(inbound(spec), 8080)
    assert not takes_plaintext(inbound(spec, {"mtls": STRICT}), 8080)


def test_the_mode_of_a_port_that_nobody_declares_is_in_force() -> None:
    listener = inbound({"selector": ECHO, "portLevelMtls": {"9999": STRICT}})
    assert not takes_plaintext(listener, 9999)
    assert takes_plaintext(listener, 9998)
    listener = inbound({"selector": ECHO, "mtls": STRICT, "portLevelMtls": {"9999": PERMISSIVE}})
    assert takes_plaintext(listener, 9999)
    assert not takes_plaintext(listener, 9998)


def test_the_proxy_s_own_ports_are_not_the_application_s() -> None:
    listener = inbound({"selector": ECHO, "portLevelMtls": {"15006": STRICT}})
    assert [chain.name for chain in listener.filter_chains if chain.name.startswith("15006")] == []


def inspected(listener: Any, port: int) -> bool:
    """Whether TLS is told from plaintext on a port."""
    (inspector,) = (item for item in listener.listener_filters if item.name.endswith("tls_inspector"))
    return not _holds(MessageToDict(inspector).get("filterDisabled", {"notMatch": {"anyMatch": True}}), port)


def _holds(predicate: dict[str, Any], port: int) -> bool:
    if "notMatch" in predicate:
        return not _holds(predicate["notMatch"], port)
    if "orMatch" in predicate:
        return any(_holds(rule, port) for rule in predicate["orMatch"]["rules"])
    ports = predicate.get("destinationPortRange")
    return ports is None or ports["start"] <= port < ports["end"]


def test_without_mtls_the_application_s_own_tls_is_plain_bytes_on_every_port() -> None:
    listener = inbound({"selector": ECHO, "mtls": DISABLE})
    assert not inspected(listener, 8080)
    assert not inspected(listener, 9999)
    listener = inbound({"selector": ECHO, "mtls": DISABLE, "portLevelMtls": {"8080": STRICT, "9999": PERMISSIVE}})
    assert [inspected(listener, port) for port in (8080, 9999, 9998)] == [True, True, False]
    listener = inbound({"selector": ECHO, "portLevelMtls": {"9999": DISABLE}})
    assert [inspected(listener, port) for port in (8080, 9999, 9998)] == [True, False, True]
