"""AZ: who may send what. What is refused is refused at the client and never seen by the server."""

from __future__ import annotations

from conformance.catalogue import check
from conformance.checks.authorization_ground import (
    CALLERS,
    GROUND,
    REFERENCE,
    Ask,
    account,
    allow,
    deny,
    establish,
    judged,
    proven,
)
from conformance.checks.authorization_judges import Access, judge_access
from conformance.checks.mtls_judges import GRPC, HTTP, TCP
from conformance.context import Context
from conformance.intents import AccessRule

__all__: list[str] = []


@check(
    id="AZ-01",
    title="A policy that allows nothing refuses everything",
    proves=("authorization", "default deny"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def default_deny(ctx: Context) -> Access:
    """An allowing policy without a rule: ask as everybody, by every protocol."""
    everybody = [Ask(caller, wanted=False) for caller in (*CALLERS, "outsider")]
    others = [Ask("client", wanted=False, port=port) for port in (TCP, GRPC)]
    return proven(ctx, allow(ctx, "nothing"), asks=[*everybody, *others], mark=[everybody[0], others[-1]])


@check(
    id="AZ-02",
    title="An allowed identity gets through",
    proves=("authorization", "identity"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def allowed_identity(ctx: Context) -> Access:
    """One service account is allowed: ask as it by every protocol, and from outside of the mesh."""
    rule = AccessRule(accounts=(account(ctx, "client"),))
    mine = [Ask("client", wanted=True, port=port) for port in (HTTP, GRPC, TCP)]
    return proven(ctx, allow(ctx, "one-account", rule), asks=[*mine, Ask("outsider", wanted=False)])


@check(
    id="AZ-03",
    title="Another identity is refused",
    proves=("authorization", "identity"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def other_identity(ctx: Context) -> Access:
    """One service account is allowed: ask as others, of its namespace and of another, by every protocol."""
    rule = AccessRule(accounts=(account(ctx, "client"),))
    others = [Ask(caller, wanted=False, port=port) for caller in ("other", "friend") for port in (HTTP, GRPC, TCP)]
    # All of it is the mark: policies of before, which may let others in, can go later than this one comes.
    asks = [Ask("client", wanted=True), *others, Ask("outsider", wanted=False, port=TCP)]
    return proven(ctx, allow(ctx, "one-account", rule), asks=asks)


@check(
    id="AZ-04",
    title="A denial beats an allowance",
    proves=("authorization", "deny"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def deny_beats_allow(ctx: Context) -> Access:
    """Two accounts are allowed and get through; then one of them is denied as well. A third is allowed by nobody."""
    both = allow(ctx, "two-accounts", AccessRule(accounts=(account(ctx, "client"), account(ctx, "other"))))
    mark = [Ask("client", wanted=True), Ask("other", wanted=True), Ask("friend", wanted=False)]
    establish(ctx, both, mark=mark)
    denied = deny(ctx, "not-other", AccessRule(accounts=(account(ctx, "other"),)))
    asks = [Ask("client", wanted=True), *(Ask("other", wanted=False, port=port) for port in (HTTP, GRPC, TCP))]
    return proven(ctx, both, denied, asks=[*asks, Ask("friend", wanted=False)], mark=asks)


@check(
    id="AZ-05",
    title="A namespace is allowed as a whole, and only that one",
    proves=("authorization", "namespace"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def namespace(ctx: Context) -> Access:
    """One namespace is allowed: ask from it, from another, and from one whose name begins with its name."""
    rule = AccessRule(namespaces=(ctx.space("friend"),))
    mark = [Ask("friend", wanted=True), Ask("client", wanted=False)]
    establish(ctx, allow(ctx, "one-namespace", rule), mark=mark)
    nearly = [Ask("friendly", wanted=False, note="namespace begins alike", port=port) for port in (HTTP, TCP)]
    return judged(ctx, [*mark, Ask("friend", wanted=True, port=TCP), *nearly, Ask("outsider", wanted=False)])


@check(
    id="AZ-06",
    title="Paths and methods decide",
    proves=("authorization", "path", "method"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def path_and_method(ctx: Context) -> Access:
    """One path may be read, everything below another may be written."""
    rules = (
        AccessRule(methods=("GET",), paths=("/report.v1",)),
        AccessRule(methods=("POST",), paths=("/orders/*",)),
    )
    mark = [Ask("client", wanted=True, path="/report.v1"), Ask("client", wanted=False, path="/elsewhere")]
    establish(ctx, allow(ctx, "paths", *rules), mark=mark)
    return judged(
        ctx,
        [
            *mark,
            Ask("client", wanted=True, path="/report.v1?page=2"),
            Ask("client", wanted=True, path="/orders/7", method="POST"),
            Ask("client", wanted=False, path="/report.v1", method="POST"),
            Ask("client", wanted=False, path="/orders/7"),
            Ask("client", wanted=False, path="/report.v1/all"),
            Ask("client", wanted=False, path="/reportxv1", note="a dot is a dot"),
            Ask("client", wanted=False, path="/REPORT.V1", note="paths have a case"),
            Ask("client", wanted=False, path="/elsewhere?/report.v1"),
            Ask("client", wanted=False, path="/orders", method="POST"),
        ],
    )


@check(
    id="AZ-07",
    title="Ports decide, for TCP too",
    proves=("authorization", "port", "tcp"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference=REFERENCE,
)
def port(ctx: Context) -> Access:
    """Two of three ports are allowed, then the third alone."""
    asks = [Ask("client", wanted=number != GRPC, port=number) for number in (HTTP, TCP, GRPC)]
    two = proven(ctx, allow(ctx, "two-ports", AccessRule(ports=(HTTP, TCP))), asks=asks)
    asks = [Ask("client", wanted=number == GRPC, port=number) for number in (HTTP, TCP, GRPC)]
    one = proven(ctx, allow(ctx, "one-port", AccessRule(ports=(GRPC,))), asks=asks)
    return Access((*two.attempts, *one.attempts))
