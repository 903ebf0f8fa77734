"""Changes of path and address: redirects and rewrites in Envoy's words."""

from __future__ import annotations

import re
from typing import Any

from envoy.config.route.v3.route_components_pb2 import RedirectAction
from envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute, RegexMatcher

from refmesh.api.routing import Match, Redirect, Rewrite

__all__ = ["apply_rewrite", "redirect_action", "redirect_port"]

_REDIRECT_CODES = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}


def redirect_port(redirect: Redirect) -> int:
    """The port of the Location; 0 keeps the request's. A scheme without a port means that scheme's own."""
    if redirect.port or not redirect.scheme:
        return redirect.port
    return 443 if redirect.scheme == "https" else 80


def redirect_action(redirect: Redirect, match: Match) -> Any:
    """The answer that sends a client elsewhere."""
    action = RedirectAction(
        scheme_redirect=redirect.scheme,
        host_redirect=redirect.host,
        port_redirect=redirect_port(redirect),
        response_code=_REDIRECT_CODES[redirect.status],
    )
    if redirect.path:
        action.path_redirect = redirect.path
    elif redirect.prefix is not None:
        _replace_prefix(action, redirect.prefix, match)
    return action


def apply_rewrite(action: Any, rewrite: Rewrite, match: Match) -> None:
    """Have a forwarding action change host and path."""
    if rewrite.host:
        action.host_rewrite_literal = rewrite.host
    if rewrite.pattern:
        action.regex_rewrite.CopyFrom(
            RegexMatchAndSubstitute(pattern=RegexMatcher(regex=rewrite.pattern), substitution=rewrite.substitution)
        )
    elif rewrite.path:
        action.regex_rewrite.CopyFrom(_whole_path(rewrite.path))
    elif rewrite.prefix is not None:
        _replace_prefix(action, rewrite.prefix, match)


def _whole_path(path: str) -> Any:
    literal = path.replace("\\", "\\\\")
    # Up to the query, which stays.
    return RegexMatchAndSubstitute(pattern=RegexMatcher(regex=r"^[^?]*"), substitution=literal)


def _replace_prefix(action: Any, prefix: str, match: Match) -> None:
    """Replace what the match consumed: works alike for a redirect and a forwarding action."""
    path = match.path
    if path is not None and path.kind in {"exact", "regex"}:
        # Istio: the whole of what an exact or regular match took.
        action.regex_rewrite.CopyFrom(_whole_path(prefix))
    elif path is None or path.kind != "segment-prefix":
        action.prefix_rewrite = prefix
    elif not path.value.rstrip("/"):
        # / -> /a must turn /b into /a/b, not /ab.
        action.prefix_rewrite = f"{prefix.rstrip('/')}/"
    elif not prefix.rstrip("/"):
        # /a -> / must turn /a/b into /b, not //b.
        pattern = f"^{re.escape(path.value.rstrip('/'))}/*"
        action.regex_rewrite.CopyFrom(RegexMatchAndSubstitute(pattern=RegexMatcher(regex=pattern), substitution="/"))
    else:
        action.prefix_rewrite = prefix.rstrip("/")
