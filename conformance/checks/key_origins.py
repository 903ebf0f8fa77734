"""Where an Envoy has its keys from, by its own `/config_dump`. Pure.

The dump redacts every private key, so looking for keys in it finds none. What it does say is whence each comes: a
listener or cluster names the source of its certificates (`envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`),
and the certificate beside a key is shown.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Origin", "origins"]


@dataclass(frozen=True)
class Origin:
    """One source of certificates with their keys."""

    how: str
    """In words."""
    local: bool
    """Whether it is within the pod: a file, or an agent on a Unix socket or the loopback."""
    chain: str
    """The certificates of the key, PEM; "" where the dump does not show them."""


def origins(text: str) -> tuple[Origin, ...]:
    """Every source of a dump, none of a page that is no dump."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    configs = document.get("configs") if isinstance(document, dict) else None
    if not isinstance(configs, list):
        return ()
    chains = {str(one.get("name")): _chain(one["tls_certificate"]) for one in _with(configs, "tls_certificate")}
    assignments = list(_with(configs, "load_assignment"))
    found = [
        _by_sds(secret, assignments, chains)
        for context in _with(configs, "tls_certificate_sds_secret_configs")
        for secret in context["tls_certificate_sds_secret_configs"]
    ]
    found += [
        Origin("in the configuration that the control plane sends", local=False, chain=_chain(pair))
        for context in _with([one for one in configs if not _is_own(one)], "tls_certificates", past=_STATIC)
        for pair in context["tls_certificates"]
        if any(key in pair.get("private_key", {}) for key in ("inline_bytes", "inline_string"))
    ]
    return tuple(dict.fromkeys(found))


_STATIC = ("static_clusters", "static_listeners")
"""Parts of a dump that are the bootstrap's, which nobody but the pod itself wrote."""


def _is_own(config: Any) -> bool:
    return isinstance(config, dict) and str(config.get("@type", "")).endswith("BootstrapConfigDump")


def _with(value: Any, key: str, past: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Every object of a document that has a key, but for what lies below the keys `past`."""
    if isinstance(value, dict):
        if key in value:
            yield value
        for name, inner in value.items():
            if name not in past:
                yield from _with(inner, key, past)
    elif isinstance(value, list):
        for inner in value:
            yield from _with(inner, key, past)


def _by_sds(secret: Mapping[str, Any], assignments: list[dict[str, Any]], chains: Mapping[str, str]) -> Origin:
    """The source that a secret's reference names, by the clusters with endpoints of their own and the chains shown."""
    name = str(secret.get("name", ""))
    chain, source = chains.get(name, ""), secret.get("sds_config") or {}
    if "ads" in source:
        return Origin("by the control plane's own stream (ADS)", local=False, chain=chain)
    clusters = [one["cluster_name"] for one in _with(source, "cluster_name")]
    if remote := [one["target_uri"] for one in _with(source, "target_uri") if not _is_socket(one["target_uri"])]:
        return Origin(f"by SDS from {', '.join(map(str, remote))}", local=False, chain=chain)
    if not clusters:
        return Origin("from a file, a socket or the proxy's own start", local=True, chain=chain)
    addresses = [
        endpoint["address"]
        for one in assignments
        if one.get("name") in clusters
        for endpoint in _with(one["load_assignment"], "address")
        if isinstance(endpoint["address"], dict)
    ]
    local = bool(addresses) and all(map(_within_the_pod, addresses))
    where = "within the pod" if local else "outside of the pod"
    return Origin(f"by SDS from {', '.join(clusters)}, {where}", local=local, chain=chain)


def _is_socket(target: Any) -> bool:
    return str(target).startswith("unix:")


def _within_the_pod(address: Mapping[str, Any]) -> bool:
    if "pipe" in address:
        return True
    host = str((address.get("socket_address") or {}).get("address", ""))
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _chain(pair: Mapping[str, Any]) -> str:
    """The certificates beside a key."""
    source = pair.get("certificate_chain") or {}
    if "inline_string" in source:
        return str(source["inline_string"])
    try:
        return base64.b64decode(str(source.get("inline_bytes", ""))).decode("utf-8", "replace")
    except binascii.Error:
        return ""
