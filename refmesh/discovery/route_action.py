"""What happens to a request that is forwarded: destinations by weight, time limits, retries, copies, rewrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, RuntimeFractionalPercent
from envoy.config.route.v3.route_components_pb2 import RetryPolicy, RouteAction, WeightedCluster
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.duration_pb2 import Duration

from refmesh.api.routing import Destination, HeaderChange, Match, Mirror, Retry, Rule
from refmesh.discovery import names
from refmesh.discovery.packing import duration, pack, uint32
from refmesh.discovery.route_paths import apply_rewrite

__all__ = [
    "cluster_name",
    "default_retry",
    "forward",
    "header_options",
    "mirrored",
    "rewritten",
    "served",
    "share",
    "time_limit",
    "tries",
    "weighted_shares",
]

# A request that never reached the application may be sent again, whatever its method; more is the user's choice.
_SAFE_TO_RETRY = "connect-failure,refused-stream,reset-before-request"
# What Istio documents for retries whose conditions the user leaves open.
_ASKED_FOR_RETRY = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_MOST_BACKOFF_TIMES = 10
_SAME_PLACE_TRIES = 2
"""After so many the places that they went to are left out, as in Istio."""


def weighted_shares(weights: Sequence[int]) -> list[int]:
    """The share of each destination, out of the sum of all."""
    return list(weights)


def served(destinations: Sequence[Destination]) -> list[Destination]:
    """The destinations that get traffic at all."""
    return [destination for destination in destinations if destination.weight > 0]


def cluster_name(destination: Destination, host: str, port: int) -> str:
    """The cluster of a destination of a route for `host`; for one that cannot be resolved a name that nobody has."""
    _ = host
    if destination.invalid:
        # Envoy answers the share of an unknown cluster with the status that the action names.
        return f"invalid|{destination.host}"
    return names.outbound_cluster(destination.port or port, destination.subset, destination.host)


def default_retry() -> Retry:
    """What holds where the user asked for nothing."""
    return Retry(attempts=2, on=_SAFE_TO_RETRY)


def tries(retry: Retry) -> int:
    """How many times a failed request is sent again at most."""
    return retry.attempts


def time_limit(rule: Rule) -> Any:
    """The whole request's time limit; 0 is none. The mesh has none of its own."""
    return duration(rule.timeout) if rule.timeout is not None else Duration()


def mirrored(rule: Rule) -> tuple[tuple[Destination, ...], tuple[Mirror, ...]]:
    """Whose response the caller gets, and who gets copies."""
    return rule.destinations, rule.mirrors


def rewritten(rule: Rule) -> Rule:
    """The rule with the changes of host and path that hold for it."""
    return rule


def forward(rule: Rule, live: Sequence[Destination], match: Match, host: str, port: int) -> Any:
    """The action that sends a request on to one of the `live` destinations."""
    action = RouteAction(
        timeout=time_limit(rule), retry_policy=_retry_policy(rule.retry if rule.retry is not None else default_retry())
    )
    if any(destination.invalid for destination in live):
        action.cluster_not_found_response_code = RouteAction.INTERNAL_SERVER_ERROR
    plain = len(live) == 1 and live[0].request_headers == live[0].response_headers == HeaderChange()
    if plain:
        action.cluster = cluster_name(live[0], host, port)
    else:
        action.weighted_clusters.CopyFrom(_weighted(live, host, port))
    action.request_mirror_policies.extend(
        _mirror(mirror, host, port) for mirror in mirrored(rule)[1] if mirror.percent and not mirror.destination.invalid
    )
    if (rewrite := rewritten(rule).rewrite) is not None:
        apply_rewrite(action, rewrite, match)
    if rule.request_headers.host and not action.host_rewrite_literal:
        action.host_rewrite_literal = rule.request_headers.host
    return action


def _mirror(mirror: Mirror, host: str, port: int) -> Any:
    return RouteAction.RequestMirrorPolicy(
        cluster=cluster_name(mirror.destination, host, port),
        runtime_fraction=RuntimeFractionalPercent(default_value=share(mirror.percent)),
        # The copy is the same request: a suffix on its host would keep it from matching what the original matches.
        disable_shadow_host_suffix_append=True,
    )


def _weighted(live: Sequence[Destination], host: str, port: int) -> Any:
    shares = weighted_shares([destination.weight for destination in live])
    clusters = []
    for destination, portion in zip(live, shares, strict=True):
        clusters.append(
            WeightedCluster.ClusterWeight(
                name=cluster_name(destination, host, port),
                weight=uint32(portion),
                host_rewrite_literal=destination.request_headers.host or None,
                request_headers_to_add=header_options(destination.request_headers),
                request_headers_to_remove=destination.request_headers.remove,
                response_headers_to_add=header_options(destination.response_headers),
                response_headers_to_remove=destination.response_headers.remove,
            )
        )
    return WeightedCluster(clusters=clusters)


def header_options(change: HeaderChange) -> list[Any]:
    """Headers to set and to add in Envoy's words."""
    replaced = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    added = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
    return [
        HeaderValueOption(header=HeaderValue(key=name, value=value), append_action=action, keep_empty_value=True)
        for pairs, action in ((change.set, replaced), (change.add, added))
        for name, value in pairs
    ]


def share(percent: float) -> Any:
    """So many percent of the requests."""
    return FractionalPercent(numerator=round(percent * 10_000), denominator=FractionalPercent.MILLION)


def _retry_policy(retry: Retry) -> Any:
    if retry.attempts == 0:
        # An empty policy would let the virtual host's or the client's own wishes through; none is none.
        return _one_try(retry)
    on, statuses = retry.on, list(retry.statuses)
    if not on:
        on, statuses = _ASKED_FOR_RETRY, [503]
    policy = RetryPolicy(
        retry_on=on,
        num_retries=uint32(tries(retry)),
        retriable_status_codes=statuses,
        host_selection_retry_max_attempts=5,
    )
    if retry.other_hosts:
        policy.retry_host_predicate.append(
            RetryPolicy.RetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts", typed_config=pack(PreviousHostsPredicate())
            )
        )
    if retry.other_places:
        priorities = PreviousPrioritiesConfig(update_frequency=_SAME_PLACE_TRIES)
        policy.retry_priority.CopyFrom(
            RetryPolicy.RetryPriority(name="envoy.retry_priorities.previous_priorities", typed_config=pack(priorities))
        )
    if retry.backoff is not None:
        policy.retry_back_off.base_interval.CopyFrom(duration(retry.backoff))
        policy.retry_back_off.max_interval.CopyFrom(duration(retry.backoff * _MOST_BACKOFF_TIMES))
    if retry.per_try_timeout is not None:
        policy.per_try_timeout.CopyFrom(duration(retry.per_try_timeout))
    return policy


def _one_try(retry: Retry) -> Any:
    return None if retry.per_try_timeout is None else RetryPolicy(per_try_timeout=duration(retry.per_try_timeout))
