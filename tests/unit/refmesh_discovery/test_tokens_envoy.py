"""Which tokens the real Envoy believes under RequestAuthentications, and what policies may then ask of them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.tokens import Issuer, unsigned
from tests.unit.refmesh_discovery.guarded_envoy import Guarded, Objects, guarded_envoy
from tests.unit.refmesh_discovery.helpers import policy

ISSUER, STRANGER = Issuer(), Issuer()
NAME, AUDIENCE = "https://issuer.test", "shop"
GOOD = {
    "iss": NAME,
    "sub": "alice",
    "aud": AUDIENCE,
    "exp": int(time.time()) + 86_400,
    "groups": ["a", "b"],
    "nested": {"x": "y"},
}


def authentication(name: str = "tokens", **rule: Any) -> tuple[str, dict[str, Any]]:
    rules = [{"issuer": NAME, "audiences": [AUDIENCE], "jwks": ISSUER.key_set(), **rule}]
    return "RequestAuthentication", policy(name, {"jwtRules": rules})


def second(**rule: Any) -> tuple[str, dict[str, Any]]:
    rules = [{"issuer": "second", "jwks": STRANGER.key_set(), **rule}]
    return "RequestAuthentication", policy("second", {"jwtRules": rules})


def principals(*names: str, key: str = "requestPrincipals") -> dict[str, Any]:
    return {"from": [{"source": {key: list(names)}}]}


def required(*names: str) -> tuple[str, dict[str, Any]]:
    return "AuthorizationPolicy", policy("p", {"rules": [principals(*names)]})


def claim(key: str, value: str) -> tuple[str, dict[str, Any]]:
    return "AuthorizationPolicy", policy("p", {"rules": [{"when": [{"key": key, "values": [value]}]}]})


ROOT = "https://id.test"
PATHS = (
    "RequestAuthentication",
    policy(
        "paths", {"jwtRules": [{"issuer": name, "jwks": ISSUER.key_set()} for name in (ROOT, f"{ROOT}/a", f"{ROOT}x")]}
    ),
)


POLICIES: dict[str, Objects] = {
    "optional": [authentication()],
    "any": [authentication(), required("*")],
    "alice": [authentication(), required(f"{NAME}/alice")],
    "bob": [authentication(), required(f"{NAME}/bob")],
    "group": [authentication(), claim("request.auth.claims[groups]", "b")],
    "no group": [authentication(), claim("request.auth.claims[groups]", "c")],
    "nested": [authentication(), claim("request.auth.claims[nested][x]", "y")],
    "audience": [authentication(), claim("request.auth.audiences", AUDIENCE)],
    "header": [authentication(fromHeaders=[{"name": "x-token", "prefix": "Token "}])],
    "two": [
        authentication(),
        (
            "RequestAuthentication",
            policy("second", {"jwtRules": [{"issuer": "second", "jwks": STRANGER.key_set()}]}),
        ),
        required("*"),
    ],
    **{
        f"principal {value}": [PATHS, required(value)]
        for value in (f"{ROOT}/*", f"{ROOT}/al*", f"{ROOT}/a/*", "*/b", "*a/b")
    },
    f"principal {ROOT}/a/b": [PATHS, required(f"{ROOT}/a/b")],
    "denied": [PATHS, ("AuthorizationPolicy", policy("p", {"action": "DENY", "rules": [principals(f"{ROOT}/*")]}))],
    "not": [
        PATHS,
        ("AuthorizationPolicy", policy("p", {"rules": [principals(f"{ROOT}/*", key="notRequestPrincipals")]})),
    ],
    "two places": [
        authentication(fromHeaders=[{"name": "x-first"}, {"name": "x-other"}]),
        (
            "RequestAuthentication",
            policy("second", {"jwtRules": [{"issuer": "second", "jwks": STRANGER.key_set(), "fromParams": ["t"]}]}),
        ),
    ],
    "shared place": [
        authentication(fromHeaders=[{"name": "x-first"}, {"name": "x-other"}]),
        (
            "RequestAuthentication",
            policy(
                "second",
                {
                    "jwtRules": [
                        {"issuer": "second", "jwks": STRANGER.key_set(), "fromHeaders": [{"name": "X-Other"}]},
                    ]
                },
            ),
        ),
    ],
    "two prefixes": [
        authentication(),
        (
            "RequestAuthentication",
            policy(
                "second",
                {
                    "jwtRules": [
                        {"issuer": "second", "jwks": STRANGER.key_set(), "fromHeaders": [{"name": "authorization"}]},
                    ]
                },
            ),
        ),
    ],
    "cookie": [authentication(fromCookies=["session"])],
    "forwarded": [authentication(forwardOriginalToken=True)],
    "payload": [authentication(outputPayloadToHeader="X-Payload")],
    "claim": [authentication(outputClaimToHeaders=[{"header": "X-User", "claim": "sub"}])],
    "two issuers, one header": [
        authentication(outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}]),
        (
            "RequestAuthentication",
            policy(
                "second",
                {
                    "jwtRules": [
                        {
                            "issuer": "second",
                            "jwks": STRANGER.key_set(),
                            "outputClaimToHeaders": [{"header": "x-user", "claim": "iss"}],
                            "outputPayloadToHeader": "x-payload",
                        }
                    ]
                },
            ),
        ),
    ],
    "written and read": [
        authentication(outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}], outputPayloadToHeader="x-payload"),
        second(fromHeaders=[{"name": "X-User"}]),
    ],
    "written and read with a prefix": [
        authentication(outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}]),
        second(fromHeaders=[{"name": "x-user", "prefix": "T "}]),
    ],
    "authorization is written": [
        authentication(
            fromHeaders=[{"name": "x-token"}], outputClaimToHeaders=[{"header": "Authorization", "claim": "sub"}]
        ),
        second(forwardOriginalToken=True),
    ],
    "cookies are written": [authentication(outputPayloadToHeader="cookie"), second(fromCookies=["session"])],
    "params": [
        authentication(fromParams=["a", "a/headers"], outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}])
    ],
    "unreadable, with headers": [
        authentication(
            unknown=1,
            outputClaimToHeaders=[{"header": "X-User", "claim": 1}, "x", {"header": "a b"}, {"header": 1}],
            outputPayloadToHeader="x-payload",
        )
    ],
    "no keys yet": [("RequestAuthentication", policy("t", {"jwtRules": [{"issuer": NAME, "jwksUri": "http://x/k"}]}))],
    "unreadable": [("RequestAuthentication", policy("t", {"jwtRules": [{"issuer": NAME}]}))],
    "none": [],
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_envoy(POLICIES, tmp_path_factory.mktemp("envoy")) as found:
        yield found


def bearer(token: str) -> str:
    return f"authorization: Bearer {token}"


FORGED = ISSUER.token(GOOD).rpartition(".")[0] + "." + STRANGER.token(GOOD).rpartition(".")[2]
SECOND, FAKE = STRANGER.token({"iss": "second"}), ISSUER.token({"iss": "second"})
CASES = {
    "valid": (ISSUER.token(GOOD), 200),
    "expired": (ISSUER.token({**GOOD, "exp": int(time.time()) - 600}), 401),
    "from another issuer": (ISSUER.token({**GOOD, "iss": "https://other.test"}), 401),
    "for another audience": (ISSUER.token({**GOOD, "aud": "bank"}), 403),
    "signed by a stranger": (STRANGER.token(GOOD), 401),
    "with the signature of another": (FORGED, 401),
    "unsigned": (unsigned(GOOD), 401),
    "no token at all": ("x.y.z", 401),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["optional", "any", "two"])
def test_only_tokens_that_hold_get_through(proxy: Guarded, name: str, case: str) -> None:
    token, status = CASES[case]
    assert proxy.ask(name, headers=bearer(token)).status == status


def test_without_a_token_policies_decide(proxy: Guarded) -> None:
    assert proxy.ask("optional").status == 200
    assert proxy.ask("any").status == 403


@pytest.mark.parametrize(
    ("name", "status"),
    [("alice", 200), ("bob", 403), ("group", 200), ("no group", 403), ("nested", 200), ("audience", 200)],
)
def test_policies_may_ask_for_what_the_token_says(proxy: Guarded, name: str, status: int) -> None:
    assert proxy.ask(name, headers=bearer(ISSUER.token(GOOD))).status == status


def test_a_second_issuer_is_believed_with_its_own_keys_only(proxy: Guarded) -> None:
    assert proxy.ask("two", headers=bearer(STRANGER.token({**GOOD, "iss": "second"}))).status == 200
    assert proxy.ask("two", headers=bearer(ISSUER.token({**GOOD, "iss": "second"}))).status == 401


def test_a_token_is_looked_for_where_the_rule_says(proxy: Guarded) -> None:
    token = ISSUER.token({**GOOD, "exp": 1})
    assert proxy.ask("header", headers=f"x-token: Token {token}").status == 401
    assert proxy.ask("header", headers=bearer(token)).status == 200


@pytest.mark.parametrize(
    ("cookie", "status"),
    [("session={good}", 200), ("a=b; session={good}", 200), ("session={bad}", 401), ("other={bad}", 200)],
)
def test_a_token_in_a_cookie_must_hold(proxy: Guarded, cookie: str, status: int) -> None:
    assert proxy.ask("cookie", headers=f"cookie: {cookie.format(good=ISSUER.token(GOOD), bad=FORGED)}").status == status


def test_the_application_gets_the_token_where_the_rule_says(proxy: Guarded) -> None:
    token = bearer(ISSUER.token(GOOD))
    assert proxy.ask("optional", headers=token).seen == {}
    assert proxy.ask("forwarded", headers=token).seen == {"authorization": token.partition(": ")[2]}


def test_the_application_gets_what_the_token_says_and_nothing_that_a_client_made_up(proxy: Guarded) -> None:
    forged = "x-payload: forged\nx-user: root"
    for query, headers in (("", bearer(ISSUER.token(GOOD))), (f"?access_token={ISSUER.token(GOOD)}", "")):
        payload = proxy.ask("payload", f"/{query}", headers=f"{headers}\n{forged}".strip()).seen["x-payload"]
        assert json.loads(base64.urlsafe_b64decode(payload + "==")) == GOOD
        assert proxy.ask("claim", f"/{query}", headers=f"{headers}\n{forged}".strip()).seen["x-user"] == "alice"
    assert "x-payload" not in proxy.ask("payload", headers=forged).seen
    assert "x-user" not in proxy.ask("claim", headers=forged).seen


PREFLIGHT = "origin: http://a\naccess-control-request-method: GET"


def test_what_tokens_say_is_taken_from_where_none_is_looked_for(proxy: Guarded) -> None:
    asked = proxy.ask("claim", method="OPTIONS", headers=f"{PREFLIGHT}\nx-user: root")
    assert (asked.status, asked.seen) == (200, {})


def test_issuers_that_share_a_header_each_write_it_and_no_token_that_fails_does(proxy: Guarded) -> None:
    def user(token: str, query: str = "") -> tuple[int, str, bool]:
        headers = f"{bearer(token)}\nx-user: root\nx-payload: forged"
        found = proxy.ask("two issuers, one header", f"/{query}", headers=headers)
        return found.status, found.seen.get("x-user", ""), "x-payload" in found.seen

    assert user(ISSUER.token(GOOD)) == (200, "alice", False)
    assert user(SECOND) == (200, "second", True)
    # Of two of one age the first by name.
    assert user(ISSUER.token(GOOD), f"?access_token={SECOND}") == (200, "second", True)
    assert user(ISSUER.token(GOOD), f"?access_token={FAKE}")[0] == 401
    assert user(FORGED)[0] == 401


def test_where_one_rule_looks_for_tokens_no_other_writes(proxy: Guarded) -> None:
    def asked(name: str, *headers: str) -> tuple[int, set[str]]:
        found = proxy.ask(name, headers="\n".join(headers))
        return found.status, set(found.seen)

    good = bearer(ISSUER.token(GOOD))
    assert asked("written and read", good) == (200, {"x-payload"})
    assert asked("written and read", good, f"x-user: {SECOND}") == (200, {"x-payload"})
    assert asked("written and read", good, f"x-user: {FAKE}")[0] == 401
    assert asked("written and read", "x-user: root")[0] == 401
    assert asked("written and read with a prefix", "x-user: root") == (200, set())
    assert asked("written and read with a prefix", f"x-user: T {FAKE}")[0] == 401
    assert asked("authorization is written", bearer(SECOND)) == (200, set())
    assert asked("authorization is written", bearer(FAKE))[0] == 401
    assert asked("authorization is written", "authorization: alice") == (200, set())
    assert asked("cookies are written", f"cookie: session={SECOND}")[0] == 200
    assert asked("cookies are written", f"cookie: session={FAKE}")[0] == 401


def test_a_param_may_have_any_name(proxy: Guarded) -> None:
    assert proxy.ask("params", f"/?a={ISSUER.token(GOOD)}").seen == {"x-user": "alice"}
    assert proxy.ask("params", f"/?a={FORGED}").status == 401


def test_what_only_tokens_may_say_is_said_by_nobody_while_their_rules_cannot_be_read(proxy: Guarded) -> None:
    asked = proxy.ask("unreadable, with headers", headers="x-user: root\nx-payload: forged")
    assert (asked.status, asked.seen) == (200, {})


@pytest.mark.parametrize("name", ["no keys yet", "unreadable", "unreadable, with headers"])
def test_without_keys_no_token_holds_and_requests_without_one_pass(proxy: Guarded, name: str) -> None:
    assert proxy.ask(name, headers=bearer(ISSUER.token(GOOD))).status == 401
    assert proxy.ask(name).status == 200


def test_a_token_that_nobody_verifies_is_none(proxy: Guarded) -> None:
    assert proxy.ask("none", headers=bearer("x.y.z")).status == 200


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ("", "", 200),
        (f"x-first: {ISSUER.token(GOOD)}", "", 200),
        ("", f"t={SECOND}", 200),
        (f"x-first: {ISSUER.token(GOOD)}", f"t={SECOND}", 200),
        (f"x-first: {ISSUER.token(GOOD)}", f"t={FAKE}", 401),
        (f"x-first: {ISSUER.token(GOOD)}", "t=x.y.z", 401),
        (f"x-first: {FORGED}", f"t={SECOND}", 401),
        (f"x-first: {ISSUER.token(GOOD)}\nx-other: {FORGED}", "", 401),
        (f"x-first: {SECOND}", "", 401),
        ("", f"access_token={FAKE}", 200),
    ],
)
def test_a_good_token_vouches_for_no_other(proxy: Guarded, headers: str, query: str, status: int) -> None:
    assert proxy.ask("two places", f"/?{query}", headers=headers).status == status


def test_where_rules_share_a_place_a_token_of_either_holds(proxy: Guarded) -> None:
    for token, status in ((ISSUER.token(GOOD), 200), (SECOND, 200), (FAKE, 401)):
        assert proxy.ask("shared place", headers=f"x-other: {token}").status == status
    first = f"x-first: {ISSUER.token(GOOD)}\n"
    for token, status in ((SECOND, 200), (FAKE, 401)):
        assert proxy.ask("shared place", headers=f"{first}x-other: {token}").status == status


def test_prefixes_of_one_header_are_one_place(proxy: Guarded) -> None:
    assert proxy.ask("two prefixes", headers=bearer(ISSUER.token(GOOD))).status == 200
    assert proxy.ask("two prefixes", headers=f"authorization: {SECOND}").status == 200
    assert proxy.ask("two prefixes", headers=f"authorization: {FAKE}").status == 401


ROOTS = {
    "root": (ROOT, "alice"),
    "sub path": (ROOT, "a/b"),
    "tenant": (f"{ROOT}/a", "b"),
    "longer": (f"{ROOT}x", "alice"),
}


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (f"{ROOT}/*", {"root", "sub path", "tenant"}),
        (f"{ROOT}/al*", {"root"}),
        (f"{ROOT}/a/*", {"sub path", "tenant"}),
        (f"{ROOT}/a/b", {"sub path", "tenant"}),
        ("*/b", {"sub path", "tenant"}),
        ("*a/b", {"sub path", "tenant"}),
    ],
)
def test_a_request_principal_is_compared_as_one_text(proxy: Guarded, value: str, held: set[str]) -> None:
    found = {
        name
        for name, (issuer, subject) in ROOTS.items()
        if proxy.allows(f"principal {value}", headers=bearer(ISSUER.token({"iss": issuer, "sub": subject})))
    }
    assert found == held


@pytest.mark.parametrize("name", ROOTS)
def test_whose_principal_begins_so_is_denied(proxy: Guarded, name: str) -> None:
    issuer, subject = ROOTS[name]
    headers = bearer(ISSUER.token({"iss": issuer, "sub": subject}))
    assert proxy.allows("denied", headers=headers) is (name == "longer")
    assert proxy.allows("not", headers=headers) is (name == "longer")
