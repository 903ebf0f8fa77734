"""What a server counts for itself, and answers that depend on the count."""

import pytest

from fixtures.workloads.pod.answers import BadWish, Request, Wish, wish
from fixtures.workloads.pod.tally import MAX_KEYS, Arrivals, Tally
from fixtures.workloads.traffic import Batch, Control, OrderRefused


def request(key=""):
    headers = [(b"X-Meshproof-Key", key.encode())] if key else []
    return Request("http1", "GET", "/", "h", headers, 8080, "peer", None)


def test_keys_are_counted_apart_and_the_oldest_are_forgotten():
    tally = Tally()
    assert [tally.add(request(key)) for key in ("a", "b", "a", "")] == [1, 1, 2, 0]
    assert (tally.of("a"), tally.of("b"), tally.of("c")) == (2, 1, 0)
    for number in range(MAX_KEYS):
        tally.add(request(f"k{number}"))
    assert (tally.of("a"), tally.of("k0"), tally.of(f"k{MAX_KEYS - 1}")) == (0, 1, 1)


def test_wishes_for_headers_and_for_the_first():
    asked = wish("header=X-Tone:low&header=x-size:%20a%20b&first=2&codes=503", Wish())
    assert asked.headers == (("x-tone", "low"), ("x-size", "a b"))
    assert (asked.first, asked.codes) == (2, (503,))


@pytest.mark.parametrize(
    "query",
    [
        "header=x",
        "header=:v",
        "header=x:a%0d%0ab:1",
        "header=content-length:9",
        "first=0",
        "first=x",
        "first=99999",
        "&".join(["header=x-a:1"] * 17),
    ],
)
def test_wishes_that_cannot_be_read(query):
    with pytest.raises(BadWish):
        wish(query, Wish())


@pytest.mark.parametrize("protocol", ["http1", "h2c"])
def test_the_first_fail_and_later_ones_do_not(client, echo, protocol):
    url = f"http://127.0.0.1:{echo.http}/?codes=503&first=2&header=x-tone:low"
    key = f"key-{protocol}"
    found = client.batch(Batch(url=url, protocol=protocol, count=4, headers={"x-meshproof-key": key}))
    assert [one.status for one in found] == [503, 503, 200, 200]
    assert all(one.headers and one.headers["x-tone"] == ["low"] for one in found)
    control = Control.of_address("127.0.0.1", echo.control)
    assert control.order("GET", f"/count?key={key},other") == {"counts": {key: 4, "other": 0}, "pod": "echo-0"}
    with pytest.raises(OrderRefused, match="which key"):
        control.order("GET", "/count")
    control.close()
    (unkeyed,) = client.batch(Batch(url=url, protocol=protocol))
    assert unkeyed.status == 400


def test_probes_with_a_key_are_counted_and_are_no_arrivals(client, echo):
    """What a kubelet asks is none of the traffic that is judged; that it was asked at all may be."""
    control = Control.of_address("127.0.0.1", echo.control)
    before = control.order("GET", "/behaviour")["served"]
    url = f"http://127.0.0.1:{echo.http}/ready"
    found = client.batch(Batch(url=url, count=3, headers={"x-meshproof-key": "probe"}))
    assert [one.status for one in found] == [200] * 3
    assert control.order("GET", "/count?key=probe")["counts"] == {"probe": 3}
    assert control.order("GET", "/behaviour")["served"] == before
    control.close()


def test_the_oldest_arrivals_are_forgotten_and_the_reach_says_so(monkeypatch):
    monkeypatch.setattr("fixtures.workloads.pod.tally.MAX_ARRIVALS", 2)
    clock = iter([0.0, 1.0, 2.0, 3.0, 5.0])  # made, three requests, asked
    monkeypatch.setattr("fixtures.workloads.pod.tally.time.monotonic", lambda: next(clock))
    arrivals = Arrivals()
    for _ in range(3):
        arrivals.add()
    assert arrivals.ages() == (4.0, [3.0, 2.0])
    assert arrivals.total == 3
