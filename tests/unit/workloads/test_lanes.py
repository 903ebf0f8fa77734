"""Workers that share an HTTP/2 connection."""

import asyncio
import json

import pytest

from fixtures.workloads.pod.lanes import Shared
from fixtures.workloads.pod.names import Names
from fixtures.workloads.pod.wire import Target
from fixtures.workloads.traffic import Batch
from tests.unit.workloads.helpers import url


@pytest.mark.parametrize("protocol", ["h2c", "grpc"])
def test_each_connection_has_as_many_streams_as_asked_for(echo, client, protocol):
    batch = Batch(f"http://127.0.0.1:{echo.http}/?delay=20ms", protocol=protocol, count=40, concurrency=5, streams=4)
    found = client.batch(batch)
    assert len(found) == 40
    assert all(record.ok for record in found)
    assert len({record.reply["peer"] for record in found}) == sum(record.fresh for record in found) == 2
    begun = sorted(record.start for record in found)
    ended = sorted(record.start + record.seconds for record in found)
    assert begun[4] < ended[0]


def test_an_open_loop_shares_as_well(echo, client):
    batch = Batch(url(echo, "grpc"), protocol="grpc", rate=200.0, duration=0.3, concurrency=8, streams=8)
    found = client.batch(batch)
    assert [record.ok for record in found] == [True] * 60
    assert len({record.reply["peer"] for record in found}) == 1


@pytest.mark.parametrize("protocol", ["h2c", "grpc"])
def test_large_bodies_side_by_side(echo, client, protocol):
    batch = Batch(
        f"http://127.0.0.1:{echo.http}/?size=60000",
        protocol=protocol,
        body="x" * 300_000,
        count=12,
        concurrency=6,
        streams=6,
    )
    found = client.batch(batch)
    assert all(record.ok and record.reply["body_bytes"] >= 300_000 for record in found)
    assert len({record.reply["peer"] for record in found}) == 1


async def peers(echo):
    """The peers of: a stream, its neighbour whose waiting ends early, the stream again, one that comes later."""
    shared = Shared(Target(Batch(f"http://127.0.0.1:{echo.http}/?delay=50ms", protocol="h2c"), Names()))
    first, second = await asyncio.gather(shared.lane(), shared.lane())
    kept, given_up = first.ask(), second.ask()
    given_up.cancel()
    answers = [await kept]
    second.close()
    answers.append(await first.ask())
    third = await shared.lane()
    first.close()
    answers.append(await third.ask())
    third.close()
    last = await shared.lane()
    answers.append(await last.ask())
    last.close()
    seen = [json.loads(answer.body or b"")["peer"] for answer in answers]
    return [first.joined, second.joined, third.joined, last.joined], seen


def test_who_gives_up_or_leaves_takes_no_stream_along_but_its_own(echo):
    joined, (one, again, other, next_one) = asyncio.run(peers(echo))
    assert joined == [False, True, True, False]
    assert one == again == other != next_one


def test_nobody_there_is_said_to_each(client):
    batch = Batch("http://127.0.0.1:1/", protocol="grpc", count=6, concurrency=3, streams=3)
    found = client.batch(batch)
    assert [record.error for record in found] == ["refused"] * 6
    assert all(record.fresh for record in found)
