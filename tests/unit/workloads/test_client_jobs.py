"""The pace of the traffic client, its jobs and its limits."""

import itertools
import socket
import threading
import time
from dataclasses import replace

import pytest

from fixtures.kube import NotEventually
from fixtures.workloads.traffic import Batch, Client, Control, OrderRefused
from reports.errors import EnvironmentProblem, UsageProblem
from tests.unit.workloads.helpers import Program, running, serving

# -- pace --------------------------------------------------------------------------------------------------------------


def test_an_open_loop_keeps_its_schedule_whatever_the_answers_do(client, echo):
    found = client.batch(
        Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", rate=100, duration=1, concurrency=50, fields=())
    )
    assert len(found) == 100
    starts = sorted(record.start for record in found)
    for k, start in enumerate(starts):
        assert start - starts[0] == pytest.approx(k / 100, abs=1e-5)
    assert all(record.seconds >= 0.1 for record in found)


def test_waiting_for_a_free_connection_counts_as_time(client, echo):
    found = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", rate=100, count=10, concurrency=1))
    slowest = max(found, key=lambda record: record.start)
    assert slowest.late > 0.7
    assert slowest.seconds > 0.8


def test_what_is_due_while_every_worker_is_busy_can_be_left_out(client, echo):
    batch = Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", rate=100, duration=1, concurrency=2, shed=True)
    found = client.batch(batch)
    assert 2 <= len(found) <= 22
    assert all(record.ok and not record.queued for record in found)
    assert len({record.reply["peer"] for record in found}) == 2
    waiting = client.batch(replace(batch, shed=False, timeout=0.5))
    assert len(waiting) == 100
    assert any(record.queued for record in waiting)


def test_a_closed_loop_keeps_its_concurrency(client, echo):
    found = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=100ms", count=20, concurrency=10))
    assert len(found) == 20
    events = sorted([(r.start, 1) for r in found] + [(r.start + r.seconds, -1) for r in found])
    level, highest = 0, 0
    for _, step in events:
        level += step
        highest = max(highest, level)
    assert highest == 10


def test_a_duration_ends_a_closed_loop(client, echo):
    started = time.monotonic()
    found = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?delay=10ms", duration=0.3))
    assert time.monotonic() - started >= 0.3
    assert 1 <= len(found) <= 31


# -- jobs and limits ---------------------------------------------------------------------------------------------------


def test_a_job_gives_its_records_as_they_come(client, echo):
    with client.start(Batch(f"http://127.0.0.1:{echo.http}/", rate=200, duration=5, fields=("pod",))) as job:
        seen = job.records()
        while len(seen) < 20:
            seen += job.records(len(seen))
        assert not job.done
        assert all(record.ok for record in seen)
        again = job.records()
        assert again[: len(seen)] == seen
    with pytest.raises(OrderRefused, match="no such job"):
        job.records()
    job.stop()


@pytest.mark.parametrize("shed", [False, True])
def test_a_job_is_finished_when_the_request_that_hangs_has_ended(client, shed):
    held, release = threading.Event(), threading.Event()
    turn = itertools.count()

    def third_hangs(peer):
        while peer.recv(4096):
            if next(turn) == 2:
                held.set()
                release.wait(20)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(third_hangs) as port:
        batch = Batch(
            f"http://127.0.0.1:{port}/", rate=50, duration=60, concurrency=4, timeout=20, fields=(), shed=shed
        )
        with client.start(batch) as job:
            assert held.wait(20)
            while len(job.records()) < 20:
                pass
            with pytest.raises(NotEventually, match="requests of job"):
                job.finish(0.0)
            release.set()
            found = job.finish()
            assert not job.done
    starts = [one.start for one in found]
    assert len(starts) > 20
    for k, start in enumerate(starts):  # not one is missing
        assert start - starts[0] == pytest.approx(k / 50, abs=1e-5)
    assert all(one.ok for one in found)


def test_a_job_is_finished_without_what_was_left_out(client, echo):
    with client.start(Batch(f"http://127.0.0.1:{echo.http}/?delay=200ms", rate=50, duration=60, shed=True)) as job:
        while len(job.records()) < 3:
            pass
        found = job.finish()
        assert not job.done
    assert 3 <= len(found) < 50 * (found[-1].start - found[0].start)


def test_a_job_that_has_ended_is_finished(client, echo):
    with client.start(Batch(f"http://127.0.0.1:{echo.http}/", rate=100, count=5)) as job:
        assert len(job.wait(20)) == 5
        assert len(job.finish(0.0)) == 5


def test_a_closed_loop_has_no_requests_that_are_due(client, echo):
    with client.start(Batch(f"http://127.0.0.1:{echo.http}/", duration=60)) as job:
        with pytest.raises(UsageProblem, match="with a rate"):
            job.finish()


def test_at_most_eight_jobs(client, echo):
    jobs = [client.start(Batch(f"http://127.0.0.1:{echo.http}/", rate=1, duration=60)) for _ in range(8)]
    with pytest.raises(OrderRefused, match="at most 8 jobs"):
        client.start(Batch(f"http://127.0.0.1:{echo.http}/"))
    for job in jobs:
        job.stop()
    client.start(Batch(f"http://127.0.0.1:{echo.http}/")).stop()


def test_a_batch_that_cannot_be_sent_is_the_callers_mistake(client):
    with pytest.raises(UsageProblem, match="count must be"):
        client.batch(Batch("http://127.0.0.1:1/", count=0))


def test_bad_orders_get_one_sentence(client_program):
    control = Control.of_address("127.0.0.1", client_program.ports[0])
    for method, path, body, said in (
        ("POST", "/batch", {"url": 5}, "url must be text"),
        ("POST", "/jobs", [], "one JSON object"),
        ("POST", "/batches", {"url": "http://127.0.0.1:1/"}, "a list of 1 to 200"),
        ("POST", "/batches", [], "a list of 1 to 200"),
        ("POST", "/batches", [{"url": "http://127.0.0.1:1/"}, {"url": 5}], "url must be text"),
        ("GET", "/jobs/99", None, "no such job"),
        ("GET", "/", None, "known are"),
        ("DELETE", "/jobs", None, "no such job"),
    ):
        with pytest.raises(OrderRefused, match=said):
            control.order(method, path, body)
    control.close()


def test_a_runner_that_goes_away_ends_its_batch(client_program, echo):
    before = Control.of_address("127.0.0.1", echo.control)
    with socket.create_connection(("127.0.0.1", client_program.ports[0])) as runner:
        body = b'{"url":"http://127.0.0.1:%d/","duration":60,"rate":100}' % echo.http
        runner.sendall(b"POST /batch HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        served = before.order("GET", "/behaviour")["served"]
        while before.order("GET", "/behaviour")["served"] < served + 5:
            pass
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        first = before.order("GET", "/behaviour")["served"]
        time.sleep(0.1)
        if before.order("GET", "/behaviour")["served"] == first:
            break
    else:
        raise AssertionError("it still sends")
    before.close()


def test_answers_do_not_fill_the_memory():
    """A server that answers each request with 100 KB of pod name."""
    text = b'{"pod":"%s"}' % (b"x" * 100_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)

    def generous(peer):
        while peer.recv(4096):
            peer.sendall(answer)

    with running(Program("client", CLIENT_CONTROL_PORT="0")) as own, serving(generous) as port:
        with Client.at("127.0.0.1", own.ports[0]) as client:
            with client.start(Batch(f"http://127.0.0.1:{port}/", count=2000, concurrency=4, fields=("pod",))) as job:
                answered = 0
                while answered < 2000:
                    answered = job._control.order("GET", f"/jobs/{job._name}?since=2000")["count"]
                with pytest.raises(EnvironmentProblem, match="could not keep"):
                    job.records(1999)
            assert own.status_kib("VmHWM") < 160 * 1024
