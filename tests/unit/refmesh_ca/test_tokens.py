"""Who a token's holder is: whatever the API server or a caller says, an identity of one account or none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.ca.service import bearer_token
from refmesh.ca.tokens import AUDIENCE, Caller, Unauthenticated, identity_of_review

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


KEYS = st.sampled_from(["authorization", "Authorization", "cookie"])
VALUES = st.sampled_from(["Bearer abc", "bearer  a b ", "Bearer", "Basic abc", ""]) | st.text(max_size=9) | st.binary()


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4) | st.none())
def test_a_token_is_what_follows_bearer_and_nothing_else(metadata):
    token = bearer_token(metadata)
    said = [value for key, value in metadata or () if key == "authorization" and isinstance(value, str)]
    assert token == token.strip()
    assert not token or any(value[:7].lower() == "bearer " and token in value for value in said)
    assert token or not any(value.lower().startswith("bearer a") for value in said)
