"""RequestAuthentications as Envoy's filter for JSON Web Tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.route.v3.route_components_pb2 import RouteMatch
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation, Mutations
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
            if item.selection.picks(pod.labels, services, near=item.meta.namespace == pod.namespace)
            for index, rule in enumerate(item.rules)
        )


def jwt_filters(rules: Iterable[TokenRule]) -> list[Any]:
    """The filters, if there is anything to verify: a token that does not hold is answered with 401, none passes."""
    providers, wanted, found = dict[str, Any](), dict[_Place, list[Any]](), list(rules)
    written, read = _headers(found)
    told = [_tell(group, providers, written) for group in _sharing_headers(found, written)]
    for item in found:
        for place in _places(item.rule):
            name = f"{item.name}/{':'.join(place)}"
            providers[name] = _provider(item, place, forward=item.rule.forward, payload_in_metadata=CLAIMS)
            providers[name].normalize_payload_in_metadata.space_delimited_claims.extend(["scope", "permission"])
            wanted.setdefault(place, []).append(jwt.JwtRequirement(provider_name=name))
    if not providers:
        return []
    # Each place by itself: Envoy looks for no second token once one requirement of several is met.
    config = jwt.JwtAuthentication(
        providers=providers,
        rules=[
            jwt.RequirementRule(
                match=RouteMatch(prefix="/"), requires=_all([*told, *map(_any_or_none, wanted.values())])
            )
        ],
        # The mesh does not know which origins an application lets its pages be asked from.
        bypass_cors_preflight=True,
    )
    verify = HttpFilter(name=JWT_FILTER, typed_config=pack(config))
    return [*_forget("refmesh.token_headers", written), verify, *_forget("refmesh.token_places", read)]


def _headers(rules: Iterable[TokenRule]) -> tuple[set[str], set[str]]:
    """The headers that tokens write, and those they would write if some rule did not look for tokens there.

    The latter nobody writes, for that rule would take it for a token. They are taken away only once they are read.
    """
    wanted = {name for item in rules for name in item.rule.written_headers}
    places = {name for item in rules for name in item.rule.read_headers}
    return wanted - places, wanted & places


def _forget(name: str, headers: Iterable[str]) -> list[Any]:
    """The filter that takes from a request what only a token may say, also where no token is looked for."""
    mutations = [Mutation(remove=header) for header in sorted(headers)]
    if not mutations:
        return []
    config = HeaderMutation(mutations=Mutations(request_mutations=mutations))
    return [HttpFilter(name=name, typed_config=pack(config))]


def _sharing_headers(rules: Iterable[TokenRule], written: set[str]) -> list[list[TokenRule]]:
    """The rules that write headers, together where they write the same."""
    found: list[tuple[frozenset[str], list[TokenRule]]] = []
    for item in rules:
        headers, members = item.rule.written_headers & written, [item]
        if not headers:
            continue
        joined = [group for group in found if group[0] & headers]
        found = [group for group in found if not group[0] & headers]
        found.append((headers.union(*(one for one, _ in joined)), [*(one for _, of in joined for one in of), *members]))
    return [members for _, members in found]


def _tell(rules: Iterable[TokenRule], providers: dict[str, Any], written: set[str]) -> Any:
    """Write those headers of the first token that holds; whether all hold is asked afterwards, so tokens stay.

    A requirement of its own: whatever Envoy verifies for a provider with such headers, it removes them first, and so
    would forget at one place what it had found at another.
    """
    found = jwt.JwtRequirement()
    for item in rules:
        for place in _places(item.rule):
            # In front, for the name of a param or cookie may be any text.
            name = f"headers/{item.name}/{':'.join(place)}"
            claims = [
                jwt.JwtClaimToHeader(header_name=header, claim_name=claim)
                for header, claim in item.rule.claim_headers
                if header in written
            ]
            payload = item.rule.payload_header if item.rule.payload_header in written else ""
            providers[name] = _provider(
                item, place, forward=True, forward_payload_header=payload, claim_to_headers=claims
            )
            found.requires_any.requirements.add(provider_name=name)
    found.requires_any.requirements.add().allow_missing_or_failed.SetInParent()
    return found


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


def _provider(item: TokenRule, place: _Place, **more: Any) -> Any:
    """The rule for the tokens that stand in one place."""
    rule, (kind, where) = item.rule, place
    headers = [*rule.headers] or [("authorization", "Bearer ")]
    return jwt.JwtProvider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        local_jwks=DataSource(inline_string=item.keys or _NO_KEYS),
        from_headers=[
            jwt.JwtHeader(name=name, value_prefix=prefix) for name, prefix in headers if place == ("header", name)
        ],
        from_params=[where] if kind == "param" else [],
        from_cookies=[where] if kind == "cookie" else [],
        clock_skew_seconds=clock_skew(),
        **more,
    )
