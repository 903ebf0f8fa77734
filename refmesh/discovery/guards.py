"""The filters that keep requests and connections out, and where their rules are kept.

For requests the listener only names the filters, and the rules travel with the inbound routes: a changed policy acts
on the next request of every open connection, and no connection is disturbed by it. A filter without rules of its route
lets nothing through. For bytes the rules stand in the listener: changing them drains the port's connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac

from refmesh.discovery import rbac
from refmesh.discovery.authorization import OPEN, Authorization
from refmesh.discovery.jwt import TokenRule, jwt_filters
from refmesh.discovery.packing import pack

__all__ = ["Guard", "first", "network_filters", "protect", "route_rules"]

_DENY, _ALLOW, _AUDIT = "refmesh.authorization.deny", "refmesh.authorization.allow", "refmesh.authorization.audit"
_NETWORK = "envoy.filters.network.rbac"


@dataclass(frozen=True)
class Guard:
    """What decides about the requests to one pod."""

    authorization: Authorization = OPEN
    tokens: tuple[TokenRule, ...] = ()


def protect(manager: Any, guard: Guard) -> None:
    """Put the filters before all others of a connection manager: tokens are verified before rules ask about them."""
    closed = pack(http_rbac.RBAC(rules=RBAC(action=RBAC.ALLOW)))
    rules = [HttpFilter(name=name, typed_config=closed) for name in (_DENY, _ALLOW, _AUDIT)]
    first(manager, *jwt_filters(guard.tokens), *rules)
    if guard.authorization.names_paths:
        canonical_paths(manager)


def first(manager: Any, *filters: Any) -> None:
    """Put filters before all others of a connection manager."""
    others = list(manager.http_filters)
    del manager.http_filters[:]
    manager.http_filters.extend([*filters, *others])


def route_rules(authorization: Authorization, trust_domain: str) -> dict[str, Any]:
    """The filters' rules, by filter, for the inbound routes."""
    found = {}
    for name, rules in _in_order(authorization, trust_domain, http=True):
        # Present without rules: this filter has nothing to say here.
        route = (
            http_rbac.RBACPerRoute(rbac=http_rbac.RBAC(rules=rules)) if rules is not None else http_rbac.RBACPerRoute()
        )
        found[name] = pack(route)
    return found


def network_filters(authorization: Authorization, trust_domain: str) -> list[Any]:
    """The filters before a TCP proxy."""
    return [
        Filter(name=_NETWORK, typed_config=pack(network_rbac.RBAC(rules=rules, stat_prefix=name)))
        for name, rules in _in_order(authorization, trust_domain, http=False)
        if rules is not None
    ]


def _in_order(authorization: Authorization, trust_domain: str, *, http: bool) -> list[tuple[str, Any]]:
    asked = in_order(authorization)
    return [
        (_DENY, rbac.deny_rules(asked, trust_domain, http=http)),
        (_ALLOW, rbac.allow_rules(asked, trust_domain, http=http)),
        (_AUDIT, rbac.audit_rules(asked, trust_domain, http=http)),
    ]


def in_order(authorization: Authorization) -> Authorization:
    """What is asked: every DENY policy, whatever ALLOW policies say."""
    return authorization


def canonical_paths(manager: Any) -> None:
    """One way only to write each path, for the rules and for the application.

    Only where rules name paths: elsewhere the mesh leaves alone what applications say to each other.
    """
    manager.normalize_path.value = True
    manager.merge_slashes = merges_slashes()
    manager.path_with_escaped_slashes_action = escaped_slashes()


def merges_slashes() -> bool:
    """Whether `//` is `/`."""
    return True


def escaped_slashes() -> Any:
    """What becomes of `%2F` and `%5C`: they are the slashes that an application takes them for."""
    return HttpConnectionManager.UNESCAPE_AND_FORWARD


def ignores_path_parameters() -> bool:
    """Whether `/admin;x=1` is compared as `/admin`, as servers with path parameters understand it."""
    return True
