"""Route configurations: which requests to a service port go where.

One configuration per port, for every host name: the listener in front of it knows the destination by its address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    HeaderMatcher,
    QueryParameterMatcher,
    RedirectAction,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.common.fault.v3.fault_pb2 import FaultDelay
from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute, RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.api.routing import Destination, Fault, HeaderChange, Match, Redirect, Retry, Rule, TextMatch
from refmesh.discovery import names
from refmesh.discovery.packing import duration, pack, uint32

__all__ = ["FAULT_FILTER", "RouteSpec", "route_configuration", "single_cluster", "weighted_shares"]

FAULT_FILTER = "envoy.filters.http.fault"
# A request that never reached the application may be sent again, whatever its method; more is the user's choice.
_SAFE_TO_RETRY = "connect-failure,refused-stream,reset-before-request"
# What Istio documents for retries whose conditions the user leaves open.
_ASKED_FOR_RETRY = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_DEFAULT_RETRY = Retry(attempts=2, on=_SAFE_TO_RETRY)
_REDIRECT_CODES = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}


@dataclass(frozen=True)
class RouteSpec:
    """All that a route configuration depends on. `rules` None: no user's route, everything goes to the service."""

    host: str
    port: int
    rules: tuple[Rule, ...] | None = None


def weighted_shares(weights: Sequence[int]) -> list[int]:
    """The share of each destination, out of the sum of all."""
    return list(weights)


def route_configuration(spec: RouteSpec) -> Any:
    """The route configuration of a service port."""
    rules = spec.rules
    if rules is None:
        rules = (Rule(destinations=(Destination(spec.host, spec.port),)),)
    routes = [_route(rule, match, spec.port) for rule in rules for match in (rule.matches or (Match(),))]
    host = VirtualHost(name=names.route_name(spec.host, spec.port), domains=["*"], routes=routes)
    return RouteConfiguration(
        name=names.route_name(spec.host, spec.port),
        virtual_hosts=[host],
        # A route may name a cluster that comes or goes with the next update; that must not make this one invalid.
        validate_clusters=BoolValue(value=False),
    )


def single_cluster(name: str, cluster: str) -> Any:
    """A configuration that sends everything to one cluster and never tries twice."""
    action = RouteAction(cluster=cluster, timeout=Duration())
    route = Route(name="default", match=RouteMatch(prefix="/"), route=action)
    host = VirtualHost(name=name, domains=["*"], routes=[route])
    return RouteConfiguration(name=name, virtual_hosts=[host], validate_clusters=BoolValue(value=False))


def _route(rule: Rule, match: Match, port: int) -> Any:
    route = Route(match=_match(match))
    for change, target, removed in (
        (rule.request_headers, route.request_headers_to_add, route.request_headers_to_remove),
        (rule.response_headers, route.response_headers_to_add, route.response_headers_to_remove),
    ):
        target.extend(_header_options(change))
        removed.extend(change.remove)
    if rule.fault is not None:
        route.typed_per_filter_config[FAULT_FILTER].CopyFrom(pack(_fault(rule.fault)))
    if rule.redirect is not None:
        route.redirect.CopyFrom(_redirect(rule.redirect, match))
        return route
    live = [destination for destination in rule.destinations if destination.weight > 0]
    if not any(not destination.invalid for destination in live):
        route.direct_response.CopyFrom(DirectResponseAction(status=500))
        return route
    route.route.CopyFrom(_action(rule, live, match, port))
    return route


def _action(rule: Rule, live: list[Destination], match: Match, port: int) -> Any:
    action = RouteAction(
        timeout=duration(rule.timeout) if rule.timeout is not None else Duration(),
        retry_policy=_retry_policy(rule.retry if rule.retry is not None else _DEFAULT_RETRY),
    )
    if any(destination.invalid for destination in live):
        action.cluster_not_found_response_code = RouteAction.INTERNAL_SERVER_ERROR
    plain = len(live) == 1 and live[0].request_headers == live[0].response_headers == HeaderChange()
    if plain:
        action.cluster = _cluster_of(live[0], port)
    else:
        action.weighted_clusters.CopyFrom(_weighted(live, port))
    if rule.rewrite is not None:
        if rule.rewrite.host:
            action.host_rewrite_literal = rule.rewrite.host
        if rule.rewrite.path:
            action.regex_rewrite.CopyFrom(_whole_path(rule.rewrite.path))
        elif rule.rewrite.prefix is not None:
            _replace_prefix(action, rule.rewrite.prefix, match)
    return action


def _cluster_of(destination: Destination, port: int) -> str:
    if destination.invalid:
        # Nobody is called so: Envoy answers the share with the status for an unknown cluster.
        return f"invalid|{destination.host}"
    return names.outbound_cluster(destination.port or port, destination.subset, destination.host)


def _weighted(live: list[Destination], port: int) -> Any:
    shares = weighted_shares([destination.weight for destination in live])
    clusters = []
    for destination, share in zip(live, shares, strict=True):
        clusters.append(
            WeightedCluster.ClusterWeight(
                name=_cluster_of(destination, port),
                weight=uint32(share),
                request_headers_to_add=_header_options(destination.request_headers),
                request_headers_to_remove=destination.request_headers.remove,
                response_headers_to_add=_header_options(destination.response_headers),
                response_headers_to_remove=destination.response_headers.remove,
            )
        )
    return WeightedCluster(clusters=clusters)


def _match(match: Match) -> Any:
    found = RouteMatch()
    path = match.path
    if path is None:
        found.prefix = "/"
    elif path.kind == "exact":
        found.path = path.value
    elif path.kind == "regex":
        found.safe_regex.regex = path.value
    elif path.kind == "segment-prefix" and path.value.rstrip("/"):
        found.path_separated_prefix = path.value.rstrip("/")
    else:
        found.prefix = path.value
    if path is not None and path.ignore_case:
        found.case_sensitive.value = False
    headers = [_header_matcher(item.name, item.match, invert=item.invert) for item in match.headers]
    if match.method is not None:
        headers.append(_header_matcher(":method", match.method))
    if match.authority is not None:
        headers.append(_header_matcher(":authority", match.authority))
    found.headers.extend(headers)
    found.query_parameters.extend(_query_matcher(item.name, item.match) for item in match.query)
    return found


def _string_matcher(match: TextMatch) -> Any:
    if match.kind == "regex":
        return StringMatcher(safe_regex=RegexMatcher(regex=match.value))
    if match.kind == "exact":
        return StringMatcher(exact=match.value)
    return StringMatcher(prefix=match.value)


def _header_matcher(name: str, match: TextMatch, *, invert: bool = False) -> Any:
    if match.kind == "present":
        return HeaderMatcher(name=name, present_match=True, invert_match=invert)
    # "Without this value" holds for a request that lacks the header, too.
    return HeaderMatcher(
        name=name, string_match=_string_matcher(match), invert_match=invert, treat_missing_header_as_empty=invert
    )


def _query_matcher(name: str, match: TextMatch) -> Any:
    if match.kind == "present":
        return QueryParameterMatcher(name=name, present_match=True)
    return QueryParameterMatcher(name=name, string_match=_string_matcher(match))


def _header_options(change: HeaderChange) -> list[Any]:
    replaced = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    added = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
    # Envoy reads % as the start of a variable; users mean it literally.
    return [
        HeaderValueOption(
            header=HeaderValue(key=name, value=value.replace("%", "%%")), append_action=action, keep_empty_value=True
        )
        for pairs, action in ((change.set, replaced), (change.add, added))
        for name, value in pairs
    ]


def _retry_policy(retry: Retry) -> Any:
    if retry.attempts == 0:
        return None
    on, statuses = retry.on, list(retry.statuses)
    if not on:
        on, statuses = _ASKED_FOR_RETRY, [503]
    policy = RetryPolicy(
        retry_on=on,
        num_retries=uint32(retry.attempts),
        retriable_status_codes=statuses,
        host_selection_retry_max_attempts=5,
        retry_host_predicate=[
            RetryPolicy.RetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts", typed_config=pack(PreviousHostsPredicate())
            )
        ],
    )
    if retry.per_try_timeout is not None:
        policy.per_try_timeout.CopyFrom(duration(retry.per_try_timeout))
    return policy


def _fault(fault: Fault) -> Any:
    found = HTTPFault()
    if fault.delay is not None and fault.delay_percent:
        found.delay.CopyFrom(FaultDelay(fixed_delay=duration(fault.delay), percentage=_share(fault.delay_percent)))
    if fault.abort_status and fault.abort_percent:
        found.abort.CopyFrom(FaultAbort(http_status=fault.abort_status, percentage=_share(fault.abort_percent)))
    return found


def _share(percent: float) -> Any:
    return FractionalPercent(numerator=round(percent * 10_000), denominator=FractionalPercent.MILLION)


def _redirect(redirect: Redirect, match: Match) -> Any:
    action = RedirectAction(
        scheme_redirect=redirect.scheme,
        host_redirect=redirect.host,
        response_code=_REDIRECT_CODES[redirect.status],
    )
    # A scheme without a port means that scheme's own port, not the one the request came in on.
    if redirect.port:
        action.port_redirect = redirect.port
    elif redirect.scheme:
        action.port_redirect = 443 if redirect.scheme == "https" else 80
    if redirect.path:
        action.path_redirect = redirect.path
    elif redirect.prefix is not None:
        _replace_prefix(action, redirect.prefix, match)
    return action


def _whole_path(path: str) -> Any:
    literal = path.replace("\\", "\\\\")
    # Up to the query, which stays.
    return RegexMatchAndSubstitute(pattern=RegexMatcher(regex=r"^[^?]*"), substitution=literal)


def _replace_prefix(action: Any, prefix: str, match: Match) -> None:
    """Replace what the match consumed: works alike for a redirect and a forwarding action."""
    path = match.path
    consumed = path.value if path is not None else "/"
    if path is not None and path.kind == "exact":
        action.regex_rewrite.CopyFrom(_whole_path(prefix))
    elif (path is None or path.kind == "segment-prefix") and prefix.rstrip("/") == "" and consumed.rstrip("/"):
        # /a -> / must turn /a/b into /b, not //b.
        pattern = f"^{re.escape(consumed.rstrip('/'))}/*"
        action.regex_rewrite.CopyFrom(RegexMatchAndSubstitute(pattern=RegexMatcher(regex=pattern), substitution="/"))
    else:
        action.prefix_rewrite = (
            prefix.rstrip("/") or "/" if path is not None and path.kind == "segment-prefix" else prefix
        )
