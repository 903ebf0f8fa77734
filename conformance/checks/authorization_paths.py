"""AZ-10, AZ-11 and AZ-13: policies that hold against odd requests."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.catalogue import check
from conformance.checks.authorization_ground import GROUND, REFERENCE, SERVER, Ask, allow, deny, establish, judged
from conformance.checks.authorization_judges import Access, judge_access
from conformance.context import Context
from conformance.intents import AccessRule, LenientPaths

__all__ = ["LENIENT", "SPELLINGS"]

SPELLINGS = {
    "/./closed": "a dot segment",
    "/open/../closed": "two dots",
    "/open/%2e%2e/closed": "two dots, escaped",
    "/%63losed": "an escaped letter",
    "/closed/./x": "a dot segment below",
    "/closed//x": "two slashes below",
    "/closed?x": "a query",
    "/closed#x": "a number sign",
}
"""Ways to write `/closed` or something below it, by RFC 3986 (sections 3.3 and 6.2.2), and what is odd about each."""
LENIENT = {
    "//closed": "two slashes",
    "///closed/x": "three slashes",
    "/%2Fclosed": "an escaped slash",
    "/open/..%2fclosed": "two dots and an escaped slash",
    "/closed%2Fx": "an escaped slash below",
    "/closed;x=1": "a parameter",
    "/closed;x=1/y": "a parameter in the middle",
    "/open/..;/closed": "two dots with a parameter",
    "/\\closed": "a backslash",
    "/open/..%5Cclosed": "two dots and an escaped backslash",
}
"""Other paths by RFC 3986, or none: some servers take them for `/closed` or something below it. The echo does not."""
CLOSED = AccessRule(paths=("/closed", "/closed/*"))
MARK = (Ask("client", wanted=True), Ask("client", wanted=False, path="/closed"))
HOST = "closed.example"
ROLE = "x-meshproof-role"


def _asks(spellings: Mapping[str, str]) -> list[Ask]:
    """Spellings of the closed path, and other paths that only look like it.

    By the client outside of the mesh, so that no proxy of its own tidies spellings up before the server's sees them;
    and by a meshed one, because that is whom people write policies for.
    """
    odd = [
        Ask(caller, wanted=False, path=path, note=note, count=2)
        for path, note in spellings.items()
        for caller in ("outsider", "client")
    ]
    even = ("/closedness", "/open/closed", "/open?x=/closed", "/a;b/c")
    return [*odd, *(Ask("client", wanted=True, path=path, count=2) for path in even)]


@check(
    id="AZ-10",
    title="No spelling of a closed path or host gets through",
    proves=("authorization", "path normalisation"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2",
)
def spellings(ctx: Context) -> Access:
    """A path and a host are closed to everybody."""
    establish(ctx, deny(ctx, "closed", CLOSED, AccessRule(hosts=(HOST,))), mark=MARK)
    hosts = [
        Ask("outsider", wanted=False, headers={"host": host}, note=f"host {host}", count=2)
        for host in (HOST, HOST.upper(), HOST.title())
    ]
    other = Ask("outsider", wanted=True, headers={"host": "closedXexample"})
    return judged(ctx, [*MARK, *_asks(SPELLINGS), *hosts, other])


@check(
    id="AZ-13",
    title="Beyond RFC 3986, no other path that lenient servers take for a closed one gets through",
    proves=("authorization", "lenient paths"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization",
)
def lenient(ctx: Context) -> Access:
    """A path is closed to everybody, with doubled and escaped slashes and with parameters too."""
    establish(ctx, LenientPaths(ctx.space("in"), SERVER), deny(ctx, "closed", CLOSED), mark=MARK)
    return judged(ctx, [*MARK, *_asks(LENIENT)])


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
