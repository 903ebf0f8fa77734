"""RT: requests go where their path, headers, query and method say, and are changed on the way as declared.

Each case is asked over a route by version and over one by service, so that a mesh with two kinds of routes shows both.
"""

from __future__ import annotations

import contextlib

from conformance.catalogue import check
from conformance.checks.cases import Asked, Case, judge_cases
from conformance.checks.routing_ground import GROUND, TO_V1, TO_V2, both, offer
from conformance.context import Context, NotExpressible
from conformance.gates import Gate
from conformance.intents import HeaderEdit, Redirect, RequestMatch, Rewrite, RouteRule

__all__ = ["HEADER_CASES", "MATCH_CASES", "MOVED_CASES", "ORDER_CASES", "REDIRECT_CASES", "REWRITE_CASES"]

SPEC = "https://gateway-api.sigs.k8s.io/reference/spec/"
REST = RouteRule(TO_V1)

offer(
    "match",
    (
        RouteRule(TO_V2, (RequestMatch(path="/exact"), RequestMatch(path="/also/exact"))),
        RouteRule(TO_V2, (RequestMatch(prefix="/area"),)),
        RouteRule(TO_V2, (RequestMatch(headers=(("x-color", "blue"),)),)),
        RouteRule(TO_V2, (RequestMatch(query=(("color", "blue"),)),)),
        RouteRule(TO_V2, (RequestMatch(method="POST"),)),
        RouteRule(TO_V2, (RequestMatch(headers=(("x-one", "1"),), query=(("two", "2"),)),)),
        REST,
    ),
)
MATCH_CASES = (
    Case("exact path", "/exact", version="v2"),
    Case("exact path, with a query", "/exact?x=1", version="v2"),
    Case("second match of one rule", "/also/exact", version="v2"),
    Case("below an exact path", "/exact/more", version="v1"),
    Case("an exact path in capitals", "/EXACT", version="v1"),
    Case("prefix itself", "/area", version="v2"),
    Case("below a prefix", "/area/51/map", version="v2"),
    Case("a prefix within a segment", "/areas", version="v1"),
    Case("header", headers=(("x-color", "blue"),), version="v2"),
    Case("header's name in capitals", headers=(("X-COLOR", "blue"),), version="v2"),
    Case("header's value in capitals", headers=(("x-color", "BLUE"),), version="v1"),
    Case("header's value and more", headers=(("x-color", "blueish"),), version="v1"),
    Case("query", "/?color=blue", version="v2"),
    Case("query among others", "/?shape=round&color=blue", version="v2"),
    Case("query's value in capitals", "/?color=BLUE", version="v1"),
    Case("query's value and more", "/?color=blueish", version="v1"),
    Case("method", method="POST", version="v2"),
    Case("another method", method="PUT", version="v1"),
    Case("one condition of two", headers=(("x-one", "1"),), version="v1"),
    Case("the other of two", "/?two=2", version="v1"),
    Case("both conditions", "/?two=2", headers=(("x-one", "1"),), version="v2"),
)


@check(
    id="RT-01",
    title="Path, header, query and method decide",
    proves=("routing",),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference=f"{SPEC}#httproutematch",
)
def matches(ctx: Context) -> tuple[Asked, ...]:
    """One rule for each kind of match, and what comes close to matching."""
    return both(ctx, "match", MATCH_CASES)


offer("fallback", (RouteRule(TO_V1, (RequestMatch(prefix="/known"),)),), Gate(ordinary="/known"))
FALLBACK_CASES = (
    Case("known path", "/known", version="v1"),
    Case("unknown path", "/", status=404),
    Case("within a segment", "/knownish", status=404),
    Case("another method", "/other", method="POST", status=404),
)


@check(
    id="RT-02",
    title="A request that no rule matches is a 404",
    proves=("routing",),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference=f"{SPEC}#httprouterule",
)
def no_match(ctx: Context) -> tuple[Asked, ...]:
    """A route without a rule for everything."""
    return both(ctx, "fallback", FALLBACK_CASES)


_EDIT = HeaderEdit(
    set=(("x-tone", "low"), ("x-share", "half")), add=(("x-more", "two"), ("x-new", "1")), remove=("x-secret",)
)
offer(
    "headers",
    (
        RouteRule(TO_V2, (RequestMatch(prefix="/request"),), request_headers=_EDIT),
        RouteRule(TO_V2, (RequestMatch(prefix="/response"),), response_headers=_EDIT),
        REST,
    ),
)
_BEFORE = (("x-tone", "high"), ("x-more", "one"), ("x-secret", "s"))
_AFTER = (("x-tone", "low"), ("x-share", "half"), ("x-more", "one,two"), ("x-new", "1"), ("x-secret", ""))
_SENT = "&".join(f"header={name}:{value}" for name, value in _BEFORE)
_UNTOUCHED = (*_BEFORE, ("x-new", ""))
HEADER_CASES = (
    Case("request headers", "/request", headers=_BEFORE, version="v2", arrives=_AFTER),
    Case("request headers that are not there yet", "/request", version="v2", arrives=(("x-more", "two"), *_AFTER[:2])),
    Case("response of that rule", f"/request?{_SENT}", version="v2", returns=_UNTOUCHED),
    Case("response headers", f"/response?{_SENT}", version="v2", returns=_AFTER),
    Case("request of that rule", "/response", headers=_BEFORE, version="v2", arrives=_UNTOUCHED),
    Case("another rule", f"/?{_SENT}", headers=_BEFORE, version="v1", arrives=_UNTOUCHED, returns=_UNTOUCHED),
)


@check(
    id="RT-04",
    title="Headers are set, added and removed",
    proves=("routing", "header modification"),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference=f"{SPEC}#httpheaderfilter",
)
def headers(ctx: Context) -> tuple[Asked, ...]:
    """Request headers as the backend sees them, response headers as the client does."""
    return both(ctx, "headers", HEADER_CASES)


offer(
    "rewrite",
    (
        RouteRule(TO_V2, (RequestMatch(prefix="/old"),), rewrite=Rewrite(prefix="/new")),
        RouteRule(TO_V2, (RequestMatch(prefix="/drop"),), rewrite=Rewrite(prefix="/")),
        RouteRule(TO_V2, (RequestMatch(path="/whole"),), rewrite=Rewrite(path="/all/else")),
        RouteRule(TO_V2, (RequestMatch(path="/host"),), rewrite=Rewrite(host="elsewhere.example")),
        REST,
    ),
)
REWRITE_CASES = (
    Case("prefix", "/old/deep/er?x=1", version="v2", backend_path="/new/deep/er?x=1"),
    Case("prefix alone", "/old", version="v2", backend_path="/new"),
    Case("prefix within a segment", "/older", version="v1", backend_path="/older"),
    Case("prefix dropped", "/drop/this", version="v2", backend_path="/this"),
    Case("prefix dropped, nothing left", "/drop", version="v2", backend_path="/"),
    Case("whole path", "/whole?x=1", version="v2", backend_path="/all/else?x=1"),
    Case("host", "/host", version="v2", backend_path="/host", backend_host="elsewhere.example"),
    Case("another rule", "/other/old?x=1", version="v1", backend_path="/other/old?x=1"),
)


@check(
    id="RT-05",
    title="Path and host are rewritten, as the backend sees",
    proves=("routing", "rewrite"),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference=f"{SPEC}#httpurlrewritefilter",
)
def rewrites(ctx: Context) -> tuple[Asked, ...]:
    """The backend says what it was asked for."""
    return both(ctx, "rewrite", REWRITE_CASES)


def _by_code(codes: tuple[int, ...]) -> tuple[RouteRule, ...]:
    return tuple(
        RouteRule(matches=(RequestMatch(path=f"/code/{code}"),), redirect=Redirect(code, "http", "x.example", 81, "/y"))
        for code in codes
    )


def _code_cases(codes: tuple[int, ...]) -> tuple[Case, ...]:
    return tuple(
        Case(f"status {code}", f"/code/{code}", status=code, location="http://x.example:81/y") for code in codes
    )


_CODES, _MORE_CODES = (301, 302), (303, 307, 308)
"""What every mesh must have, and what Gateway API lists since 1.5 and calls extended: definitions of before refuse a
route that has one, so these have a route of their own."""
_REDIRECTS = (
    RouteRule(
        matches=(RequestMatch(path="/away"),), redirect=Redirect(302, "https", "elsewhere.example", 9443, "/there")
    ),
    RouteRule(matches=(RequestMatch(path="/kept"),), redirect=Redirect(302, "https", "elsewhere.example", 9443)),
    RouteRule(matches=(RequestMatch(path="/secure"),), redirect=Redirect(301, "https", "elsewhere.example")),
    *_by_code(_CODES),
    REST,
)
offer(
    "redirect",
    (
        RouteRule(
            matches=(RequestMatch(prefix="/part"),),
            redirect=Redirect(302, "https", "elsewhere.example", 9443, prefix="/piece"),
        ),
        *_REDIRECTS,
    ),
    ordered=_REDIRECTS,
)
offer("moved", (*_by_code(_MORE_CODES), REST))
REDIRECT_CASES = (
    Case("everything replaced", "/away?x=1", status=302, location="https://elsewhere.example:9443/there?x=1"),
    Case("path kept", "/kept?x=1", status=302, location="https://elsewhere.example:9443/kept?x=1"),
    Case("the scheme's own port", "/secure", status=301, location="https://elsewhere.example/secure"),
    *_code_cases(_CODES),
    Case("another rule", "/stay", version="v1"),
)
MOVED_CASES = _code_cases(_MORE_CODES)
PREFIX_CASES = (
    Case("prefix replaced", "/part/a?x=1", status=302, location="https://elsewhere.example:9443/piece/a?x=1"),
)


@check(
    id="RT-06",
    title="Redirects say where to",
    proves=("routing", "redirect"),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference=f"{SPEC}#httprequestredirectfilter",
)
def redirects(ctx: Context) -> tuple[Asked, ...]:
    """Status and `Location`, compared as URLs. The newer statuses only where the cluster and the mesh have them."""
    found = both(ctx, "redirect", REDIRECT_CASES, more=PREFIX_CASES)
    with contextlib.suppress(NotExpressible):
        found += both(ctx, "moved", MOVED_CASES)
    return found


def _goes(to: str, *matches: RequestMatch) -> RouteRule:
    return RouteRule(TO_V2 if to == "v2" else TO_V1, matches)


_ONE, _TWO = (("x-one", "1"),), (("x-one", "1"), ("x-two", "2"))
_EQUAL = (_goes("v2", RequestMatch(prefix="/same")), _goes("v1", RequestMatch(prefix="/same")))
# Each pair: what must lose, what must win.
_PAIRS = (
    (_goes("v1", RequestMatch(prefix="/a")), _goes("v2", RequestMatch(prefix="/a/b"))),
    (_goes("v1", RequestMatch(prefix="/e")), _goes("v2", RequestMatch(path="/e"))),
    (_goes("v1", RequestMatch(prefix="/m")), _goes("v2", RequestMatch(prefix="/m", method="GET"))),
    (_goes("v1", RequestMatch(prefix="/h", headers=_ONE)), _goes("v2", RequestMatch(prefix="/h", headers=_TWO))),
    (_goes("v1", RequestMatch(prefix="/q", query=(("a", "1"),))),
     _goes("v2", RequestMatch(prefix="/q", query=(("a", "1"), ("b", "2"))))),
    (_goes("v1", RequestMatch(prefix="/mh", headers=_TWO)), _goes("v2", RequestMatch(prefix="/mh", method="GET"))),
)  # fmt: skip
offer(
    "order",
    (REST, *(rule for pair in _PAIRS for rule in pair), *_EQUAL),
    ordered=(*(rule for loser, winner in _PAIRS for rule in (winner, loser)), *_EQUAL, REST),
)
ORDER_CASES = (
    Case("longer prefix first", "/a/b/c", version="v2"),
    Case("shorter prefix otherwise", "/a/c", version="v1"),
    Case("exact path before prefix", "/e", version="v2"),
    Case("prefix otherwise", "/e/f", version="v1"),
    Case("method before none", "/m", version="v2"),
    Case("no method otherwise", "/m", method="POST", version="v1"),
    Case("more headers first", "/h", headers=_TWO, version="v2"),
    Case("fewer headers otherwise", "/h", headers=_ONE, version="v1"),
    Case("more query parameters first", "/q?a=1&b=2", version="v2"),
    Case("fewer query parameters otherwise", "/q?a=1", version="v1"),
    Case("method before headers", "/mh", headers=_TWO, version="v2"),
    Case("first of two rules alike", "/same", version="v2"),
    Case("the rule for everything last", "/other", version="v1"),
)


@check(
    id="RT-07",
    title="Of several matches the right one wins",
    proves=("routing", "precedence"),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference=f"{SPEC}#httprouterule",
)
def precedence(ctx: Context) -> tuple[Asked, ...]:
    """By service the most specific match wins whatever the order, and order decides among equals.

    By version the rules are written in the order in which they must win: the first match wins by either reading.
    """
    return both(ctx, "order", ORDER_CASES)
