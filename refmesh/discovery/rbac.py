"""From AuthorizationPolicies to Envoy's RBAC rules, for requests and for bytes.

Bytes have no methods, paths or headers. What a policy asks of them there makes an ALLOW rule match nothing and is left
out of DENY and AUDIT rules, which so match more: on either side less gets through, as Istio documents it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from envoy.config.rbac.v3.rbac_pb2 import DYNAMIC, RBAC, Permission, Policy, Principal, SourcedMetadata
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.path_pb2 import PathMatcher

from refmesh.api.authorization_policy import Action, AuthorizationPolicy, Rule
from refmesh.api.conditions import Attribute, Condition
from refmesh.discovery import matchers
from refmesh.discovery.authorization import Authorization

__all__ = ["allow_rules", "audit_rules", "deny_rules"]

_AMBIGUOUS_PATH = r"[^?#]*/\.{0,2};.*"
"""`.`, `..` or nothing with parameters (`/public/..;/admin`): some servers resolve it, the proxy does not."""

_ON_THE_REQUEST = {
    Attribute.HOST,
    Attribute.METHOD,
    Attribute.PATH,
    Attribute.PORT,
    Attribute.DESTINATION_IP,
    Attribute.SNI,
}
"""What Envoy asks as a permission; the rest are principals."""


def deny_rules(authorization: Authorization, trust_domain: str, *, http: bool) -> Any:
    """What is refused; None where there is no such policy."""
    if not authorization.deny and not (http and authorization.names_paths):
        return None
    found = _rules(RBAC.DENY, authorization.deny, trust_domain, http=http)
    if http and authorization.names_paths:
        found.policies["ambiguous-path"].CopyFrom(ambiguous_paths())
    return found


def allow_rules(authorization: Authorization, trust_domain: str, *, http: bool) -> Any:
    """What is let in; None where there is no such policy, and everything is."""
    return _rules(RBAC.ALLOW, authorization.allow, trust_domain, http=http) if authorization.allow else None


def audit_rules(authorization: Authorization, trust_domain: str, *, http: bool) -> Any:
    """What is marked in the access log; None where there is no such policy."""
    return _rules(RBAC.LOG, authorization.audit, trust_domain, http=http) if authorization.audit else None


def ambiguous_paths() -> Any:
    """Refuses what the application may resolve to another path than the one that was compared."""
    matcher = HeaderMatcher(name=":path", string_match=matchers.pattern(_AMBIGUOUS_PATH))
    return Policy(permissions=[Permission(header=matcher)], principals=[Principal(any=True)])


def _rules(action: Any, policies: Sequence[AuthorizationPolicy], trust_domain: str, *, http: bool) -> Any:
    found = RBAC(action=action)
    for policy in policies:
        for index, rule in enumerate(rules_of(policy)):
            made = _policy(rule, policy.action, trust_domain, http=http)
            if made is not None:
                name = f"ns[{policy.meta.namespace}]-policy[{policy.meta.name}]-rule[{index}]"
                found.policies[name].CopyFrom(made)
    return found


def rules_of(policy: AuthorizationPolicy) -> tuple[Rule, ...]:
    """The rules to match: a policy without any matches nothing."""
    return policy.rules


def _policy(rule: Rule, action: Action, trust_domain: str, *, http: bool) -> Any:
    """One rule; None where it can match nothing on this port."""
    build = _Builder(loose=action is not Action.ALLOW, http=http, trust_domain=trust_domain)
    when_request = [item for item in rule.when if item.attribute in _ON_THE_REQUEST]
    when_peer = [item for item in rule.when if item.attribute not in _ON_THE_REQUEST]
    permissions = [build.permission([*group, *when_request]) for group in rule.operations or ((),)]
    principals = [build.principal([*group, *when_peer]) for group in rule.sources or ((),)]
    permissions = [item for item in permissions if item is not None]
    principals = [item for item in principals if item is not None]
    return Policy(permissions=permissions, principals=principals) if permissions and principals else None


class _Builder:
    def __init__(self, *, loose: bool, http: bool, trust_domain: str) -> None:
        self._loose, self._http, self._trust_domain = loose, http, trust_domain

    def permission(self, conditions: Sequence[Condition]) -> Any:
        """All conditions on the request at once; None where one of them cannot hold."""
        found: list[Any] = []
        for item in conditions:
            if item.attribute.http_only and not self._http:
                if self._loose:
                    continue
                return None
            if item.any_of:
                either = [_permission(item, value, loose=self._loose) for value in item.any_of]
                found.append(Permission(or_rules=Permission.Set(rules=either)))
            found.extend(Permission(not_rule=_permission(item, value, loose=not self._loose)) for value in item.none_of)
        return Permission(and_rules=Permission.Set(rules=found)) if found else Permission(any=True)

    def principal(self, conditions: Sequence[Condition]) -> Any:
        """All conditions on the peer and its request at once; None where one of them cannot hold."""
        found: list[Any] = []
        for item in conditions:
            if item.attribute.http_only and not self._http:
                if self._loose:
                    continue
                return None
            if item.any_of:
                either = [self._principal(item, value, loose=self._loose) for value in item.any_of]
                found.append(Principal(or_ids=Principal.Set(ids=either)))
            found.extend(
                Principal(not_id=self._principal(item, value, loose=not self._loose)) for value in item.none_of
            )
        return Principal(and_ids=Principal.Set(ids=found)) if found else Principal(any=True)

    def _principal(self, item: Condition, value: str, *, loose: bool) -> Any:
        attribute = item.attribute
        if attribute is Attribute.PRINCIPAL:
            name = matchers.principal_identity(value, self._trust_domain)
            return Principal(authenticated=Principal.Authenticated(principal_name=name))
        if attribute is Attribute.NAMESPACE:
            name = matchers.namespace_identity(value)
            return Principal(authenticated=Principal.Authenticated(principal_name=name))
        if attribute is Attribute.SOURCE_IP:
            return Principal(direct_remote_ip=matchers.cidr(value))
        if attribute is Attribute.REMOTE_IP:
            return Principal(remote_ip=matchers.cidr(value))
        if attribute is Attribute.HEADER:
            return Principal(header=matchers.header(item.keys[0], value, loose=loose))
        if attribute is Attribute.REQUEST_PRINCIPAL:
            either = [
                Principal(and_ids=Principal.Set(ids=[_token(one) for one in both]))
                for both in matchers.request_principal(value)
            ]
            return Principal(or_ids=Principal.Set(ids=either))
        keys = {Attribute.AUDIENCE: ("aud",), Attribute.PRESENTER: ("azp",)}.get(attribute, item.keys)
        return Principal(or_ids=Principal.Set(ids=[_token(one) for one in _claims(keys, value)]))


def _token(matcher: Any) -> Any:
    """What the filter for tokens found out."""
    return Principal(sourced_metadata=SourcedMetadata(metadata_matcher=matcher, metadata_source=DYNAMIC))


def _claims(keys: Sequence[str], value: str) -> Iterator[Any]:
    for listed in (False, True):
        yield matchers.claim(keys, matchers.text(value), listed=listed)


def _permission(item: Condition, value: str, *, loose: bool) -> Any:
    if item.attribute is Attribute.HOST:
        return Permission(header=matchers.host(value, loose=loose))
    if item.attribute is Attribute.METHOD:
        return Permission(header=matchers.method(value))
    if item.attribute is Attribute.PATH:
        return Permission(url_path=PathMatcher(path=matchers.path(value)))
    if item.attribute is Attribute.PORT:
        return Permission(destination_port=int(value))
    if item.attribute is Attribute.DESTINATION_IP:
        return Permission(destination_ip=matchers.cidr(value))
    return Permission(requested_server_name=matchers.text(value))
