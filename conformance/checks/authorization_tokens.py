"""AZ-12: whose tokens a workload believes."""

from __future__ import annotations

import time

from conformance.catalogue import check
from conformance.checks.authorization_ground import GROUND, SERVER, Ask, allow, establish, judged
from conformance.checks.authorization_judges import Access, judge_access
from conformance.context import Context
from conformance.intents import AccessRule, TokenIssuer
from conformance.tokens import Issuer, unsigned

__all__ = ["tokens"]

NAME, AUDIENCE, SUBJECT = "https://issuer.meshproof.test", "meshproof", "alice"


@check(
    id="AZ-12",
    title="Only a token that holds gets through",
    proves=("authorization", "jwt"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/request_authentication/",
)
def tokens(ctx: Context) -> Access:
    """The server wants a token of one subject: send good ones, bad ones, and none."""
    issuer, stranger, now = Issuer(), Issuer(), int(time.time())
    claims = {"iss": NAME, "sub": SUBJECT, "aud": AUDIENCE, "iat": now - 60, "exp": now + 3600}
    good = issuer.token(claims)

    def ask(note: str, token: str, *, wanted: bool = False) -> Ask:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return Ask("client", wanted=wanted, headers=headers, note=note, count=4)

    through, without = ask("a valid token", good, wanted=True), ask("no token", "")
    establish(
        ctx,
        TokenIssuer("tokens", ctx.space("in"), SERVER, NAME, AUDIENCE, issuer.key_set()),
        allow(ctx, "alice", AccessRule(token=(NAME, SUBJECT))),
        mark=[through, without],
    )
    content, _, signature = good.rpartition(".")
    other = issuer.token({**claims, "sub": "mallory"})
    return judged(
        ctx,
        [
            through,
            without,
            ask("an expired token", issuer.token({**claims, "iat": now - 7200, "exp": now - 3600})),
            ask("a token for another audience", issuer.token({**claims, "aud": "elsewhere"})),
            ask("a token of another issuer", issuer.token({**claims, "iss": "https://other.test"})),
            ask("a token of another subject", other),
            ask("a token signed by a stranger", stranger.token(claims)),
            ask("claims under the signature of others", f"{other.rpartition('.')[0]}.{signature}"),
            ask("a token without its signature", f"{content}."),
            ask("a token that says it needs no signature", unsigned(claims)),
        ],
    )
