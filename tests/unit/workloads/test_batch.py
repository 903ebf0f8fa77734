import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads.batch import COLUMNS, BadBatch, Batch, Record, columns, parse_batch, records

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELD = st.sampled_from(list(Batch.__dataclass_fields__))


@given(JSON | st.dictionaries(FIELD, JSON))
def test_any_json_is_a_batch_or_a_sentence(raw):
    try:
        said = parse_batch(raw).url
    except BadBatch as problem:
        said = str(problem)
    assert said


@given(
    st.builds(
        Batch,
        url=st.sampled_from(["http://a:1/x?y=z", "https://[::1]:5/"]),
        count=st.none() | st.integers(1, 100),
        concurrency=st.integers(1, 100),
        rate=st.none() | st.floats(0.5, 100),
        headers=st.dictionaries(st.text("abc-", min_size=1), st.text("xyz ")),
        body=st.text(),
        fresh=st.booleans(),
        fields=st.none() | st.lists(st.text(max_size=5)).map(tuple),
    )
)
def test_a_batch_survives_the_wire(batch):
    assert parse_batch(json.loads(json.dumps(batch.to_json()))) == batch


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "one JSON object"),
        ({}, "url must look like"),
        ({"url": "http://a/", "colour": 1}, "unknown field 'colour'"),
        ({"url": "ftp://a/"}, "url must look like grpc://host:port for protocol http1"),
        ({"url": "http://a:99999/"}, "url: Port out of range"),
        ({"url": "http://a/ b"}, "without spaces"),
        ({"url": "tcp://a", "protocol": "tcp"}, "needs a port"),
        ({"url": "http://a", "protocol": "http3"}, "protocol must be one of"),
        ({"url": "http://a", "count": 0}, "count must be a whole number from 1"),
        ({"url": "http://a", "count": True}, "count must be"),
        ({"url": "http://a", "count": 10**9}, "count must be"),
        ({"url": "http://a", "rate": float("nan")}, "rate must be"),
        ({"url": "http://a", "timeout": 1e9}, "timeout must be"),
        ({"url": "http://a", "protocol": "grpc", "streams": 101}, "streams must be a whole number from 1 to 100"),
        ({"url": "http://a", "streams": 2}, "streams are for protocols h2c and grpc"),
        ({"url": "http://a", "protocol": "h2c", "streams": 2, "fresh": True}, "for connections that are kept"),
        ({"url": "http://a", "shed": True}, "shed goes with rate"),
        ({"url": "http://a", "rate": 1, "shed": 1}, "shed must be true or false"),
        ({"url": "http://a", "headers": {"a": "b\r\nc: d"}}, "without line breaks"),
        ({"url": "http://a", "method": "GET / HTTP/1.1\r\n"}, "method must be"),
        ({"url": "http://a", "body": "x" * 2_000_000}, "body must be at most"),
        ({"url": "http://a", "certificate": "x"}, "belong together"),
    ],
)
def test_bad_batches(raw, said):
    with pytest.raises(BadBatch) as caught:
        parse_batch(raw)
    assert said in str(caught.value)


def test_totals():
    assert Batch("http://a").total == 1
    assert Batch("http://a", count=7).total == 7
    assert Batch("http://a", rate=10, duration=0.3).total == 3
    assert Batch("http://a", duration=1).total > 1000


ROW = st.tuples(
    st.floats(0, 2e9),
    st.floats(0, 100),
    st.none() | st.integers(200, 599),
    st.none() | st.sampled_from(["reset", "eof"]),
    st.booleans(),
    st.floats(0, 1),
    st.none() | st.integers(0, 16),
    st.text(max_size=5),
    st.none() | st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=3))),
    st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
    st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)


@given(st.lists(ROW))
def test_records_survive_the_wire(rows):
    wired = json.loads(json.dumps(columns(rows)))
    assert records(wired) == [Record(*row) for row in rows]
    assert set(wired) <= set(COLUMNS)


def test_what_counts_as_ok():
    assert Record(0, 0, status=204).ok
    assert Record(0, 0).ok
    assert not Record(0, 0, status=503).ok
    assert not Record(0, 0, status=200, grpc=14).ok
    assert not Record(0, 0, error="reset").ok
    assert Record(0, 0, reply={"pod": "p", "version": "v1"}).pod == "p"
    assert Record(0, 0).version is None


def test_a_number_sign_is_sent_like_everything_else():
    assert Batch(url="http://a:1/closed#x").parts.path == "/closed#x"
    assert Batch(url="http://a:1/closed?x#y").parts.query == "x#y"
