import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads.pod.answers import (
    BadWish,
    Body,
    Identity,
    Request,
    Wish,
    describe,
    parse_codes,
    parse_delay,
    wish,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("50ms", 0.05), ("1.5s", 1.5), ("2m", 120), ("0s", 0), ("250us", 0.00025)]
)
def test_delays(text, seconds):
    assert parse_delay(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "50", "ms", "-1s", "1h", "1e3s", "301s", "١s", "1.s", " 1s"])
def test_delays_that_are_none(text):
    with pytest.raises(BadWish, match="delay must"):
        parse_delay(text)


def test_codes():
    assert parse_codes("500:30,200:70") == ((500, 200), (30, 70))
    assert parse_codes("503") == ((503,), (1,))
    assert parse_codes("500:0,200:1") == ((200,), (1,))
    assert parse_codes("14:1,0:1") == ((14, 0), (1, 1))


@pytest.mark.parametrize(
    "text", ["", "abc", "500:", "100", "600", "17", "500:-1", "500:0", "500;200", "200," * 40 + "200"]
)
def test_codes_that_are_none(text):
    with pytest.raises(BadWish, match="codes"):
        parse_codes(text)


def test_a_query_changes_only_what_it_names():
    usual = Wish(delay=1.0, codes=(503,), weights=(1,))
    assert wish("", usual) is usual
    assert wish("size=5&other=x", usual) == Wish(delay=1.0, codes=(503,), weights=(1,), size=5)
    assert wish("codes=200&delay=0s", usual) == Wish(codes=(200,), weights=(1,))


@given(st.text(max_size=400))
def test_any_query_is_a_wish_or_a_sentence(query):
    said = ""
    try:
        wish(query, Wish())
    except BadWish as problem:
        said = str(problem) or "nothing\n"
    assert "\n" not in said


def test_codes_are_drawn_by_weight():
    dice = random.Random(1)
    drawn = [Wish(codes=(500, 200), weights=(30, 70)).code(dice) for _ in range(10_000)]
    assert 2800 < drawn.count(500) < 3200


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=50)), st.integers(0, 300_000), st.booleans(), st.data())
def test_a_body_has_its_stated_length_however_it_is_taken(answer, padding, framed, data):
    body = Body(answer, padding, framed=framed)
    stated, parts = body.length, []
    while body.length:
        parts.append(body.take(data.draw(st.integers(1, 200_000))))
        assert parts[-1]
    whole = b"".join(parts)
    assert len(whole) == stated
    assert body.take() == b""
    if framed:
        assert whole[0] == 0
        assert int.from_bytes(whole[1:5], "big") == len(whole) - 5
        whole = whole[5:]
    if answer or not padding:
        found = json.loads(whole)
        assert len(found.pop("padding", "")) == padding or "padding" in answer
        assert {k: v for k, v in answer.items() if k != "padding"} == found


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20))))
def test_any_headers_can_be_described(headers):
    request = Request("http1", "GET", "/", "h", headers, 8080, "1.2.3.4:5", None)
    described = describe(Identity("p", "n", "v", "i"), request, 1.0)
    json.dumps(described)
    assert sum(map(len, described["headers"].values())) == len(headers)
