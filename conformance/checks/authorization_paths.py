"""AZ-09 to AZ-11: policies that hold against odd requests, and policies that are odd themselves."""

from __future__ import annotations

from conformance.catalogue import check
from conformance.checks.authorization_ground import GROUND, REFERENCE, Ask, allow, deny, establish, judged
from conformance.checks.authorization_judges import Access, judge_access
from conformance.context import Context
from conformance.intents import AccessRule

__all__ = ["SPELLINGS"]

SPELLINGS = {
    "//closed": "two slashes",
    "///closed/x": "three slashes",
    "/./closed": "a dot segment",
    "/open/../closed": "two dots",
    "/open/%2e%2e/closed": "two dots, escaped",
    "/%63losed": "an escaped letter",
    "/%2Fclosed": "an escaped slash",
    "/open/..%2fclosed": "two dots and an escaped slash",
    "/closed%2Fx": "an escaped slash below",
    "/closed//x": "two slashes below",
    "/closed;x=1": "a parameter",
    "/closed;x=1/y": "a parameter in the middle",
    "/open/..;/closed": "two dots with a parameter",
    "/\\closed": "a backslash",
    "/open/..%5Cclosed": "two dots and an escaped backslash",
    "/closed?x": "a query",
    "/closed#x": "a number sign",
}
"""Ways to write `/closed` or something below it, and what is odd about each."""
HOST = "closed.example"
ROLE = "x-meshproof-role"


@check(
    id="AZ-10",
    title="No spelling of a closed path or host gets through",
    proves=("authorization", "path normalisation"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/ops/best-practices/security/#path-normalization",
)
def spellings(ctx: Context) -> Access:
    """A path and a host are closed to everybody.

    The spellings are sent by the client outside of the mesh, so that no proxy of its own tidies them up before the
    server's sees them; and by a meshed one, because that is whom people write policies for.
    """
    closed = (AccessRule(paths=("/closed", "/closed/*")), AccessRule(hosts=(HOST,)))
    mark = [Ask("client", wanted=True), Ask("client", wanted=False, path="/closed")]
    establish(ctx, deny(ctx, "closed", *closed), mark=mark)
    odd = [
        Ask(caller, wanted=False, path=path, note=note, count=2)
        for path, note in SPELLINGS.items()
        for caller in ("outsider", "client")
    ]
    hosts = [
        Ask("outsider", wanted=False, headers={"host": host}, note=f"host {host}", count=2)
        for host in (HOST, HOST.upper(), HOST.title())
    ]
    even = [
        Ask("client", wanted=True, path=path, count=2)
        for path in ("/closedness", "/open/closed", "/open?x=/closed", "/a;b/c")
    ]
    return judged(ctx, [*mark, *odd, *hosts, *even, Ask("outsider", wanted=True, headers={"host": "closedXexample"})])


@check(
    id="AZ-11",
    title="A header that is sent twice hides nothing",
    proves=("authorization", "headers"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def repeated_headers(ctx: Context) -> Access:
    """A value of a header is denied, then another one is allowed: send both values, in either order.

    Not so where one is allowed: a mesh may look at each value (Istio does) or at all of them as one.
    """

    def ask(first: str, second: str, *, wanted: bool, caller: str = "outsider") -> Ask:
        return Ask(
            caller,
            wanted=wanted,
            headers={ROLE: first},
            repeated={ROLE: second} if second else {},
            note=f"{ROLE}: {first}" + (f", then {second}" if second else ""),
        )

    both = [("guest", "member"), ("member", "guest"), ("guest", "guest")]
    mark = [ask("member", "", wanted=True), ask("guest", "", wanted=False)]
    establish(ctx, deny(ctx, "no-guests", AccessRule(header=(ROLE, "guest"))), mark=mark)
    denied = judged(ctx, [*mark, *(ask(*pair, wanted=False) for pair in both), ask("guests", "", wanted=True)])
    mark = [ask("member", "", wanted=True), Ask("outsider", wanted=False)]
    establish(ctx, allow(ctx, "members", AccessRule(header=(ROLE, "member"))), mark=mark)
    allowed = judged(ctx, [*mark, ask("guest", "guest", wanted=False)])
    return Access((*denied.attempts, *allowed.attempts))
