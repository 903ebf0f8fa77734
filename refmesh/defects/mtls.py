"""Defects in mTLS: who may connect, and with which certificate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from refmesh.defects.defect import Defect
from refmesh.defects.makers import changes_late, in_plaintext

__all__ = ["DEFECTS"]


def _never_strict(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Where STRICT is in force, say PERMISSIVE."""

    def mode_in_force(*args: Any, **kwargs: Any) -> Any:
        mode = sound(*args, **kwargs)
        return type(mode).PERMISSIVE if mode is type(mode).STRICT else mode

    return mode_in_force


def _never_permissive(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Where PERMISSIVE is in force, say STRICT."""

    def mode_in_force(*args: Any, **kwargs: Any) -> Any:
        mode = sound(*args, **kwargs)
        return type(mode).STRICT if mode is type(mode).PERMISSIVE else mode

    return mode_in_force


def _no_port_rules(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Look at the workload's mode whatever the port."""

    def mode_in_force(policies: Any, pod: Any, port: int | None) -> Any:
        _ = port
        return sound(policies, pod, None)

    return mode_in_force


def _bytes_are_open(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take plaintext on every port that is not HTTP."""

    def port_chains(settings: Any, port: Any, inbound: Any) -> Any:
        strict = port.mode is type(port.mode).STRICT and not port.protocol.is_http
        return sound(settings, replace(port, mode=type(port.mode).PERMISSIVE) if strict else port, inbound)

    return port_chains


def _any_server(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Expect no name in a server's certificate: any certificate of the mesh will do."""
    _ = sound
    return lambda identities: []  # noqa: ARG005 - the sound function's signature


def _old_versions(sound: Callable[[], Any]) -> Callable[[], Any]:
    """Take TLS 1.0, with a suite that it knows."""

    def tls_parameters() -> Any:
        found = sound()
        found.tls_minimum_protocol_version = found.TLSv1_0
        found.cipher_suites.append("ECDHE-ECDSA-AES128-SHA")
        return found

    return tls_parameters


def _trusted_callers(sound: Callable[[bool], Any]) -> Callable[[bool], Any]:
    """Hand on what the caller says about itself."""
    _ = sound

    def peer_header(verified: bool) -> Any:
        _ = verified
        from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
            HttpConnectionManager,
        )

        return HttpConnectionManager.ALWAYS_FORWARD_ONLY

    return peer_header


def _no_mesh_rule(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forget what holds for the whole mesh."""
    return lambda policies, pod, port: sound(replace(policies, mesh=None), pod, port)


def _any_authority(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a certificate whoever issued it; what it says must still be right."""

    def common(*given: Any) -> Any:
        found = sound(*given)
        context = found.combined_validation_context.default_validation_context
        context.trust_chain_verification = context.ACCEPT_UNTRUSTED
        return found

    return common


def _no_expiry(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a certificate whose time is over."""

    def common(*given: Any) -> Any:
        found = sound(*given)
        found.combined_validation_context.default_validation_context.allow_expired_certificate = True
        return found

    return common


def _by_a_detour(sound: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Take a change of the mode for the end of the old one first, and for the begin of the new one a second later."""

    def without(obj: Any) -> Any:
        return {**obj, "spec": {**obj["spec"], "mtls": {"mode": "DISABLE"}}}

    return changes_late(sound, {"PeerAuthentication": "peer_authentications"}, 1.0, meanwhile=without)


DEFECTS = (
    Defect(
        "strict-served-as-permissive",
        "STRICT workloads accept plaintext.",
        "mtls",
        "refmesh.discovery.policy:mode_in_force",
        _never_strict,
    ),
    Defect(
        "permissive-served-as-strict",
        "PERMISSIVE workloads refuse plaintext.",
        "mtls",
        "refmesh.discovery.policy:mode_in_force",
        _never_permissive,
    ),
    Defect(
        "port-override-ignored",
        "The mTLS mode of a single port is not looked at.",
        "mtls",
        "refmesh.discovery.policy:mode_in_force",
        _no_port_rules,
    ),
    Defect(
        "strict-for-http-only",
        "STRICT workloads accept plaintext on TCP ports.",
        "mtls",
        "refmesh.discovery.inbound:port_chains",
        _bytes_are_open,
    ),
    Defect(
        "server-identity-ignored",
        "A client accepts any server that has a certificate of the mesh.",
        "mtls",
        "refmesh.discovery.tls:server_names",
        _any_server,
    ),
    Defect(
        "old-tls-allowed",
        "Proxies accept TLS 1.0.",
        "mtls",
        "refmesh.discovery.tls:tls_parameters",
        _old_versions,
    ),
    Defect(
        "peer-header-kept",
        "What a caller says about its own identity reaches the application.",
        "mtls",
        "refmesh.discovery.filters:peer_header",
        _trusted_callers,
    ),
    Defect(
        "mesh-wide-mtls-ignored",
        "The mTLS mode of the whole mesh is not looked at.",
        "mtls",
        "refmesh.discovery.policy:mode_in_force",
        _no_mesh_rule,
    ),
    Defect(
        "any-authority-trusted",
        "Proxies accept certificates of any authority.",
        "mtls",
        "refmesh.discovery.tls:_common",
        _any_authority,
    ),
    Defect(
        "expiry-unchecked",
        "Proxies accept certificates that have expired.",
        "mtls",
        "refmesh.discovery.tls:_common",
        _no_expiry,
    ),
    Defect(
        "client-speaks-plaintext",
        "Workloads send requests to each other in plaintext.",
        "mtls",
        "refmesh.discovery.world:cluster_specs",
        in_plaintext,
    ),
    Defect(
        "mode-changes-by-a-detour",
        "Between two mTLS modes there is a second without any.",
        "mtls",
        "refmesh.config.watcher:Watcher._follow",
        _by_a_detour,
    ),
)
