"""RequestAuthentications as Envoy's filter for JSON Web Tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.route.v3.route_components_pb2 import RouteMatch
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter

from refmesh.api.request_authentication import JwtRule, RequestAuthentication
from refmesh.config.model import Pod, Snapshot
from refmesh.discovery.matchers import CLAIMS, JWT_FILTER
from refmesh.discovery.packing import pack

__all__ = ["TokenRule", "TokenRules", "jwt_filters"]

_NOBODY = base64.urlsafe_b64encode(hashlib.sha256(b"refmesh: nobody holds this key").digest()).rstrip(b"=").decode()
_NO_KEYS = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": _NOBODY}]})
"""Envoy takes no empty key set. This key is a hash, so that nobody can know its private half."""

_Place = tuple[str, str]
"""Where a token may stand in a request: in a header, param or cookie, and the name of that."""


@dataclass(frozen=True, slots=True)
class TokenRule:
    """One issuer at one workload, and its keys of the moment."""

    name: str
    rule: JwtRule
    keys: str
    """Empty while the keys cannot be had: no token holds then."""


@dataclass(frozen=True)
class TokenRules:
    """All RequestAuthentications of a snapshot, by namespace."""

    root_namespace: str
    namespaces: Mapping[str, tuple[RequestAuthentication, ...]]
    keys: Mapping[str, str]

    @classmethod
    def collect(cls, snapshot: Snapshot, root_namespace: str) -> TokenRules:
        """Sort the objects of a snapshot."""
        found: dict[str, list[RequestAuthentication]] = {}
        for item in sorted(snapshot.request_authentications.values(), key=lambda item: item.meta.age_key):
            found.setdefault(item.meta.namespace, []).append(item)
        return cls(root_namespace, {namespace: tuple(items) for namespace, items in found.items()}, snapshot.jwks)

    def of(self, pod: Pod, snapshot: Snapshot) -> tuple[TokenRule, ...]:
        """The issuers that count at a pod."""
        scopes = dict.fromkeys((self.root_namespace, pod.namespace))
        candidates = [item for scope in scopes for item in self.namespaces.get(scope, ())]
        if not candidates:
            return ()
        services = [service.name for service in snapshot.services_of(pod)]
        return tuple(
            TokenRule(
                f"{item.meta.namespace}/{item.meta.name}/{index}",
                rule,
                rule.jwks or self.keys.get(rule.jwks_uri, ""),
            )
            for item in candidates
            if item.selection.picks(pod.labels, services if item.meta.namespace == pod.namespace else ())
            for index, rule in enumerate(item.rules)
        )


def jwt_filters(rules: Iterable[TokenRule]) -> list[Any]:
    """The filter, if there is anything to verify: a token that does not hold is answered with 401, none passes."""
    providers, wanted = dict[str, Any](), dict[_Place, list[Any]]()
    for item in rules:
        for place in _places(item.rule):
            name = f"{item.name}/{':'.join(place)}"
            providers[name] = _provider(item, place)
            wanted.setdefault(place, []).append(jwt.JwtRequirement(provider_name=name))
    if not providers:
        return []
    # Each place by itself: Envoy looks for no second token once one requirement of several is met.
    config = jwt.JwtAuthentication(
        providers=providers,
        rules=[jwt.RequirementRule(match=RouteMatch(prefix="/"), requires=_all(map(_any_or_none, wanted.values())))],
        # The mesh does not know which origins an application lets its pages be asked from.
        bypass_cors_preflight=True,
    )
    return [HttpFilter(name=JWT_FILTER, typed_config=pack(config))]


def clock_skew() -> int:
    """Seconds by which the issuer's clock may differ."""
    return 60


def _places(rule: JwtRule) -> list[_Place]:
    """Where tokens of a rule may stand. Headers count once, whatever is before the token in them."""
    found = {
        *(("header", name) for name, _ in rule.headers),
        *(("param", name) for name in rule.params),
        *(("cookie", name) for name in rule.cookies),
    }
    return sorted(found) or [("header", "authorization"), ("param", "access_token")]


def _any_or_none(providers: list[Any]) -> Any:
    missing = jwt.JwtRequirement()
    missing.allow_missing.SetInParent()
    return jwt.JwtRequirement(requires_any=jwt.JwtRequirementOrList(requirements=[*providers, missing]))


def _all(requirements: Iterable[Any]) -> Any:
    found = list(requirements)
    if len(found) == 1:
        return found[0]  # Envoy takes no list of one
    return jwt.JwtRequirement(requires_all=jwt.JwtRequirementAndList(requirements=found))


def _provider(item: TokenRule, place: _Place) -> Any:
    """The rule for the tokens that stand in one place."""
    rule, (kind, where) = item.rule, place
    headers = [*rule.headers] or [("authorization", "Bearer ")]
    found = jwt.JwtProvider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        local_jwks=DataSource(inline_string=item.keys or _NO_KEYS),
        forward=rule.forward,
        from_headers=[
            jwt.JwtHeader(name=name, value_prefix=prefix) for name, prefix in headers if place == ("header", name)
        ],
        from_params=[where] if kind == "param" else [],
        from_cookies=[where] if kind == "cookie" else [],
        forward_payload_header=rule.payload_header,
        payload_in_metadata=CLAIMS,
        clock_skew_seconds=clock_skew(),
        claim_to_headers=[
            jwt.JwtClaimToHeader(header_name=name, claim_name=claim) for name, claim in rule.claim_headers
        ],
    )
    found.normalize_payload_in_metadata.space_delimited_claims.extend(["scope", "permission"])
    return found
