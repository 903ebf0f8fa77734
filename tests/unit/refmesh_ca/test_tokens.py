"""Who a token's holder is: whatever the API server or a caller says, an identity of one account or none."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.ca.service import bearer_token
from refmesh.ca.tokens import AUDIENCE, Caller, Unauthenticated, identity_of_review, look
from tests.unit.refmesh_ca.helpers import token

POD = "authentication.kubernetes.io/pod-name"
IDENTITY = re.compile(r"spiffe://mesh\.test/ns/[a-z0-9-]{1,63}/sa/[a-z0-9.-]{1,253}")
SEGMENTS = st.sampled_from(["shop", "cart", "a.b", "", "..", "a/b", "A", "x" * 64, "\n", "sa"]) | st.text(max_size=5)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=3).map(lambda parts: ":".join(["system:serviceaccount", *parts]))


def review(user: object, audiences: object = (AUDIENCE,), *, good: object = True) -> dict[str, object]:
    return {"status": {"authenticated": good, "audiences": audiences, "user": user}}


@given(
    name=NAMES | st.text(max_size=20) | st.none(),
    audiences=st.lists(st.sampled_from([AUDIENCE, "api", "istio-ca2"]), max_size=2) | st.none(),
    good=st.booleans() | st.none(),
    pods=st.lists(st.text(max_size=5), max_size=2) | st.none(),
)
def test_a_review_names_one_account_or_nobody(name, audiences, good, pods):
    try:
        caller = identity_of_review(review({"username": name, "extra": {POD: pods}}, audiences, good=good), "mesh.test")
    except Unauthenticated:
        return
    assert good
    assert AUDIENCE in audiences
    assert IDENTITY.fullmatch(caller.identity)
    assert name == "system:serviceaccount:{0[4]}:{0[6]}".format(caller.identity.split("/"))
    assert caller.pod == (f"{caller.identity.split('/')[4]}/{pods[0]}" if len(pods or ()) == 1 else "")


@pytest.mark.parametrize(
    "answer",
    [{}, {"status": None}, review(None), review({}), review({"username": "admin"}), review({"username": None}, None)],
)
def test_an_answer_without_a_name_is_nobody(answer):
    with pytest.raises(Unauthenticated):
        identity_of_review(answer, "mesh.test")


def test_a_good_answer_is_the_account():
    user = {"username": "system:serviceaccount:shop:cart", "extra": {POD: ["cart-1"]}}
    assert identity_of_review(review(user), "mesh.test") == Caller("spiffe://mesh.test/ns/shop/sa/cart", "shop/cart-1")


CLAIMS = st.dictionaries(
    st.sampled_from(["aud", "exp", "sub"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just([AUDIENCE]),
)


@given(CLAIMS | st.lists(st.integers()) | st.integers() | st.text(), st.text(max_size=3))
def test_a_look_at_a_token_is_survived_and_lets_pass_only_what_is_for_the_authority(claims, rest):
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    for text in (f"x.{payload}.{rest}", f"{payload}.{rest}", rest, f"x.{rest}.y"):
        try:
            look(text)
        except Unauthenticated:
            continue
        assert claims["aud"] in ([AUDIENCE], AUDIENCE)
        assert float(claims["exp"]) > 0


@pytest.mark.parametrize("payload", [b"[" * 11_000, b'{"aud":["istio-ca"],"exp":' + b"9" * 11_000 + b"}", b"\xff\xfe"])
def test_a_look_at_an_excessive_token_is_survived(payload):
    with pytest.raises(Unauthenticated):
        look(f"x.{base64.urlsafe_b64encode(payload).decode()}.y")


def test_a_look_says_what_is_wrong():
    look(token("a"))
    look(token("a", aud=AUDIENCE, seconds=-60))  # clocks differ
    for wrong, reason in (
        (token("a", aud=["api"]), "was not made for audience istio-ca"),
        (token("a", seconds=-400), "has expired"),
        (token("a", exp=None), "is not a service account's"),
        ("", "is needed"),
    ):
        with pytest.raises(Unauthenticated, match=reason):
            look(wrong)


KEYS = st.sampled_from(["authorization", "Authorization", "cookie"])
VALUES = st.sampled_from(["Bearer abc", "bearer  a b ", "Bearer", "Basic abc", ""]) | st.text(max_size=9) | st.binary()


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4) | st.none())
def test_a_token_is_what_follows_bearer_and_nothing_else(metadata):
    token = bearer_token(metadata)
    said = [value for key, value in metadata or () if key == "authorization" and isinstance(value, str)]
    assert token == token.strip()
    assert not token or any(value[:7].lower() == "bearer " and token in value for value in said)
    assert token or not any(value.lower().startswith("bearer a") for value in said)
