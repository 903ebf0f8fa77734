"""Matches of requests in Envoy's words."""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, QueryParameterMatcher, RouteMatch
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from refmesh.api.routing import Match, TextMatch

__all__ = ["header_text", "prefix_match", "route_match", "string_matcher"]


def route_match(match: Match) -> Any:
    """The match of a route: path, then headers (method and host among them), then query."""
    found = RouteMatch()
    path = match.path
    if path is None:
        found.prefix = "/"
    elif path.kind == "exact":
        found.path = path.value
    elif path.kind == "regex":
        found.safe_regex.regex = path.value
    else:
        found.MergeFrom(prefix_match(path))
    if path is not None and path.ignore_case:
        found.case_sensitive.value = False
    headers = [_header_matcher(item.name, item.match, invert=item.invert) for item in match.headers]
    if match.method is not None:
        headers.append(_header_matcher(":method", match.method))
    if match.authority is not None:
        headers.append(_header_matcher(":authority", match.authority))
    if match.scheme is not None:
        headers.append(_header_matcher(":scheme", match.scheme))
    found.headers.extend(headers)
    found.query_parameters.extend(_query_matcher(item.name, item.match) for item in match.query)
    return found


def prefix_match(path: TextMatch) -> Any:
    """A path that begins so; one of `segment-prefix` must go on with a `/` or end there."""
    if path.kind == "segment-prefix" and path.value.rstrip("/"):
        return RouteMatch(path_separated_prefix=path.value.rstrip("/"))
    return RouteMatch(prefix=path.value)


def string_matcher(match: TextMatch) -> Any:
    """A text in Envoy's words; `present` has none, it is a kind of header match."""
    if match.kind == "regex":
        return StringMatcher(safe_regex=RegexMatcher(regex=match.value))
    if match.kind == "exact":
        return StringMatcher(exact=match.value)
    return StringMatcher(prefix=match.value)


def header_text(match: TextMatch) -> Any:
    """How the value of a header is compared: every letter of it, and in its case."""
    return string_matcher(match)


def _header_matcher(name: str, match: TextMatch, *, invert: bool = False) -> Any:
    if match.kind == "present":
        return HeaderMatcher(name=name, present_match=True, invert_match=invert)
    # "Without this value" holds for a request that lacks the header, too.
    return HeaderMatcher(
        name=name, string_match=header_text(match), invert_match=invert, treat_missing_header_as_empty=invert
    )


def _query_matcher(name: str, match: TextMatch) -> Any:
    if match.kind == "present":
        return QueryParameterMatcher(name=name, present_match=True)
    return QueryParameterMatcher(name=name, string_match=string_matcher(match))
