"""Defects in authorization and validation: who gets in although a policy says no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _allowed_is_allowed(sound: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Ask no DENY policy where there is an ALLOW policy to ask."""

    def in_order(authorization: Any) -> Any:
        found = sound(authorization)
        return replace(found, deny=()) if found.allow else found

    return in_order


def _no_rule_is_any_rule(sound: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Read the absence of rules in an ALLOW policy as a rule without conditions."""

    def rules_of(policy: Any) -> Any:
        from refmesh.api.authorization_policy import Action, Rule

        return sound(policy) or ((Rule(),) if policy.action is Action.ALLOW else ())

    return rules_of


def _no(sound: Callable[[], bool]) -> Callable[[], bool]:
    """Leave it out."""
    _ = sound
    return lambda: False


def _paths_as_sent(sound: Callable[[Any], None]) -> Callable[[Any], None]:
    """Leave dot segments and escaped letters as they come."""

    def canonical_paths(manager: Any) -> None:
        sound(manager)
        manager.normalize_path.value = False

    return canonical_paths


def _slashes_as_sent(sound: Callable[[], Any]) -> Callable[[], Any]:
    """Compare and forward escaped slashes as they come."""

    def escaped_slashes() -> Any:
        from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager

        _ = sound
        return manager.HttpConnectionManager.KEEP_UNCHANGED

    return escaped_slashes


def _host_in_its_case(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Compare hosts letter by letter."""

    def host(value: str, *, loose: bool) -> Any:
        found = sound(value, loose=loose)
        matcher = found.string_match
        if matcher.HasField("safe_regex"):
            matcher.safe_regex.regex = matcher.safe_regex.regex.removeprefix("(?i)")
        matcher.ignore_case = False
        return found

    return host


def _joined(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Compare all values of a header at once, as one text."""

    def header(name: str, value: str, *, loose: bool) -> Any:
        _ = loose
        return sound(name, value, loose=False)

    return header


def _as_regex(sound: Callable[[str], Any]) -> Callable[[str], Any]:
    """Read an exact text as a regular expression."""

    def exact(value: str) -> Any:
        from refmesh.discovery import matchers

        _ = sound
        return matchers.pattern(value)

    return exact


def _namespace_begins(sound: Callable[[str], Any]) -> Callable[[str], Any]:
    """Compare only the beginning of a namespace."""
    return lambda value: sound(f"{value.rstrip('*')}*")


def _unread_conditions_hold(sound: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Leave out conditions that cannot be read."""

    def conditions(field: Any) -> Any:
        from refmesh.api.fields import Invalid

        try:
            return sound(field)
        except Invalid:
            return ()

    return conditions


def _for_ever(sound: Callable[[], int]) -> Callable[[], int]:
    """Believe a token for ten years after it has expired."""
    return lambda: sound() + 10 * 365 * 86_400


def _drained_in_an_hour(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Leave open connections an hour under the policies that they were opened under."""

    def tuning(annotations: Any) -> Any:
        rest = [item for item in sound(annotations) if item["name"] != "REFMESH_LISTENER_DRAIN_SECONDS"]
        return [*rest, {"name": "REFMESH_LISTENER_DRAIN_SECONDS", "value": "3600"}]

    return tuning


def _account_of_the_namespace(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a principal for any account of its namespace."""

    def principal_identity(value: str, trust_domain: str) -> Any:
        found = sound(value, trust_domain)
        namespace, account, _ = found.exact.partition("/sa/")
        if account:
            found.prefix = f"{namespace}{account}"
        return found

    return principal_identity


def _matches_nobody(sound: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """Compare with the identities of another trust domain."""
    return lambda value, trust_domain: sound(value, f"not-{trust_domain}")


def _any_port(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take a condition on the port for one that always holds."""

    def permission(item: Any, value: str, *, loose: bool) -> Any:
        found = sound(item, value, loose=loose)
        if found.WhichOneof("rule") == "destination_port":
            found.any = True
        return found

    return permission


DEFECTS = (
    Defect(
        "deny-after-allow",
        "What an ALLOW policy lets in, no DENY policy is asked about.",
        "authorization",
        "refmesh.discovery.guards:in_order",
        _allowed_is_allowed,
    ),
    Defect(
        "empty-rules-allow-all",
        "An ALLOW policy without rules lets everything in.",
        "authorization",
        "refmesh.discovery.rbac:rules_of",
        _no_rule_is_any_rule,
    ),
    Defect(
        "dot-segments-kept",
        "Paths are compared with the dot segments and escaped letters that they are sent with.",
        "authorization",
        "refmesh.discovery.guards:canonical_paths",
        _paths_as_sent,
    ),
    Defect(
        "slashes-not-merged",
        "Two slashes in a path are not compared as one.",
        "authorization",
        "refmesh.discovery.guards:merges_slashes",
        _no,
    ),
    Defect(
        "escaped-slashes-kept",
        "An escaped slash in a path is not compared as a slash.",
        "authorization",
        "refmesh.discovery.guards:escaped_slashes",
        _slashes_as_sent,
    ),
    Defect(
        "path-parameters-compared",
        "Parameters in a path (;x=1) are compared as a part of its name.",
        "authorization",
        "refmesh.discovery.guards:ignores_path_parameters",
        _no,
    ),
    Defect(
        "host-case-compared",
        "Hosts are compared with their case.",
        "authorization",
        "refmesh.discovery.matchers:host",
        _host_in_its_case,
    ),
    Defect(
        "repeated-header-joined",
        "The values of a repeated header are compared as one text.",
        "authorization",
        "refmesh.discovery.matchers:header",
        _joined,
    ),
    Defect(
        "dot-as-regex",
        "An exact text is compared as a regular expression.",
        "authorization",
        "refmesh.discovery.matchers:exact",
        _as_regex,
    ),
    Defect(
        "namespace-by-prefix",
        "A namespace is compared by its beginning.",
        "authorization",
        "refmesh.discovery.matchers:namespace_identity",
        _namespace_begins,
    ),
    Defect(
        "invalid-object-accepted",
        "A condition that cannot be read is left out, and the policy is put in force without it.",
        "authorization",
        "refmesh.api.authorization_policy:conditions",
        _unread_conditions_hold,
    ),
    Defect(
        "token-expiry-unchecked",
        "Tokens are believed long after they have expired.",
        "authorization",
        "refmesh.discovery.jwt:clock_skew",
        _for_ever,
    ),
    Defect(
        "rights-kept-by-open-connections",
        "A connection keeps the rights that it was opened with.",
        "authorization",
        "refmesh.injector.containers:tuning",
        _drained_in_an_hour,
    ),
    Defect(
        "account-ignored",
        "A rule for one service account holds for every account of its namespace.",
        "authorization",
        "refmesh.discovery.matchers:principal_identity",
        _account_of_the_namespace,
    ),
    Defect(
        "allowed-identity-refused",
        "Who is allowed by identity is not recognised.",
        "authorization",
        "refmesh.discovery.matchers:principal_identity",
        _matches_nobody,
    ),
    Defect(
        "policy-port-ignored",
        "A policy for one port holds for all of them.",
        "authorization",
        "refmesh.discovery.rbac:_permission",
        _any_port,
    ),
)
