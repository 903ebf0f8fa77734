from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from conformance.bundle import REMOVED, as_json, redact, redacted
from conformance.checks.mtls_judges import Refusal
from tests.unit.conformance.helpers import strange

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEI\n-----END EC PRIVATE KEY-----"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"


def test_keys_and_tokens_are_removed_from_text():
    text = redact(f"a {KEY} b {TOKEN} c authorization: Bearer 0123456789abcdef0123")
    assert not [secret for secret in (KEY, TOKEN, "0123456789abcdef") if secret in text]
    assert text.count(REMOVED) == 3


def test_keys_and_tokens_are_removed_from_objects():
    value = {
        "kind": "Secret",
        "data": {"a": "b"},
        "nested": [{"privateKey": "x", "note": TOKEN, "token": "t", "tokens": 3}],
    }
    assert redacted(value) == {
        "kind": "Secret",
        "data": REMOVED,
        "nested": [{"privateKey": REMOVED, "note": REMOVED, "token": REMOVED, "tokens": 3}],
    }


@given(st.text())
def test_redaction_is_stable(text):
    assert redact(redact(text)) == redact(text)


def test_a_history_is_plain_json():
    history = Refusal((strange(8080, answered=0),), ())
    assert json.loads(json.dumps(as_json(history)))["attempts"][0]["ends"] == {"reset": 20}
