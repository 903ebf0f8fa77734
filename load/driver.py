"""The load driver that runs in a pod: `python -m load.driver`. Not for import by anything outside its own process.

locust supplies the environment, the users and the request events that are the source of every sample; the arrivals
follow a schedule of our own. A user takes the next intended time, waits for it and sends; latency counts from the
intended time, so a slow answer cannot hide the requests that queued behind it. Service time (send to last byte) and
schedule lag (intended to send) are kept apart, and so is the lateness of the driver's own clock: requests also lag
where every connection waits for a slow answer.

Control (JSON, loopback only): `POST /run` a LoadSpec -> {"id"}; `GET /run/<id>?since=<n>` state and data;
`DELETE /run/<id>` stops it; `GET /clock` this pod's clock.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402  # gevent must patch before anything else is imported
import gc  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import re  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import parse_qs  # noqa: E402

import gevent  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from locust import User, task  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.event import Events  # noqa: E402
from locust.exception import StopUser  # noqa: E402

from load import histograms  # noqa: E402
from load.pacer import Pacer, tighten_timer_slack  # noqa: E402
from load.sample import served  # noqa: E402
from load.spec import CONTROL_PORT, LoadSpec, intended_times  # noqa: E402
from load.wire import Connection, RequestFailed, Target  # noqa: E402
from reports.errors import MeshproofError  # noqa: E402

__all__ = ["Job", "main"]

LEAD_SECONDS = 0.1
"""Time between the order and the first intended send, so that the users are up before it."""

DRAIN_SECONDS = 15.0
"""The longest wait for answers once a job is told to end; whoever tells it waits no longer than 20 s."""
PULSE_SECONDS = 0.05
"""Between two looks at the machine's own lateness."""
CLOCK_SECONDS = 0.005
"""The same where only distributions are kept: a block of a measurement lasts a few tenths of a second."""
PROBE_REQUESTS = 10
"""A job of at most so many requests is a probe, and may run beside a load job."""
KEPT_JOBS = 8
"""Jobs whose records stay readable; older ones are forgotten to bound the memory."""

_POD = re.compile(rb'"pod"\s*:\s*"([^"]*)"')

Row = tuple[float, float, float, int | None, str | None, bytes]
"""Intended, sent and done (seconds of perf_counter), status, error word, body."""


class Job:
    """One load job: a locust environment with its users, and what their request events reported."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.rows: list[Row] = []
        self.finished = 0
        self.under_way = 0
        """Requests that are sent and not answered."""
        self.state = "running"
        self.problem = ""
        self._target = Target(spec.url, spec.headers)
        self._tickets = intended_times(spec)
        self._start = time.perf_counter() + LEAD_SECONDS
        self._epoch = time.time() - time.perf_counter()
        self.environment = Environment(events=Events(), user_classes=[self._user_class()])
        self.environment.events.request.add_listener(self._sample)
        self._runner = self.environment.create_local_runner()
        if spec.count > PROBE_REQUESTS:
            gc.collect()
            gc.disable()
        self._runner.start(spec.users, spawn_rate=spec.users)
        self.pulse: list[tuple[float, float]] = []
        gevent.spawn(self._beat)
        self._watch = gevent.spawn(self._wait)

    def _user_class(self) -> type[User]:
        job = self

        class Scheduled(User):  # type: ignore[misc]  # locust's metaclass builds the task list
            """Takes the next intended time of the job, waits for it, sends; until the schedule is used up."""

            @task  # type: ignore[untyped-decorator]  # locust's decorator has no types
            def follow(self) -> None:
                job.follow(self.environment.events.request.fire)
                raise StopUser

        return Scheduled

    def follow(self, fire: Callable[..., None]) -> None:
        """One user's life."""
        connection, pacer = Connection(self._target, self.spec.timeout), Pacer()
        clock = time.perf_counter
        path = self.spec.url
        try:
            for ticket in self._tickets:
                if self.state != "running":
                    return
                intended = self._start + ticket
                pacer.until(intended)
                if self.state != "running":
                    return
                self.under_way += 1
                sent = clock()
                status: int | None
                error: RequestFailed | None
                try:
                    status, body = connection.exchange()
                    error = None
                except RequestFailed as failed:
                    status, body, error = None, b"", failed
                finally:
                    self.under_way -= 1
                done = clock()
                fire(
                    request_type="GET",
                    name=path,
                    response_time=(done - sent) * 1000,
                    response_length=len(body),
                    response=body,
                    context={"intended": intended, "sent": sent, "done": done, "status": status},
                    exception=error,
                )
        finally:
            connection.release()
            pacer.close()

    def _sample(self, *, context: dict[str, Any], response: bytes, exception: Any = None, **_: Any) -> None:
        self.finished += 1
        if self.finished <= self.spec.warmup:
            return
        kept = response if self.spec.record == "requests" else b""
        word = exception.word if isinstance(exception, RequestFailed) else None
        self.rows.append((context["intended"], context["sent"], context["done"], context["status"], word, kept))

    def _wait(self) -> None:
        last = self._start + self.spec.duration + self.spec.timeout + 5
        while self.state == "running" and self.finished < self.spec.count and time.perf_counter() < last:
            gevent.sleep(0.02)
        if self.state == "running":
            self.state = "done" if self.finished >= self.spec.count else "failed"
            self.problem = "" if self.state == "done" else f"{self.finished} of {self.spec.count} requests came back"
        # What was sent is waited for: a request that hangs at the end has failed like any other.
        last = time.perf_counter() + min(self.spec.timeout, DRAIN_SECONDS)
        while self.under_way and time.perf_counter() < last:
            gevent.sleep(0.01)
        self._runner.quit()
        if self.spec.count > PROBE_REQUESTS:
            gc.enable()

    def _beat(self) -> None:
        """Wake up at fixed instants and note how late that was: the machine's own lateness, whatever the far side does.

        The lag of the requests cannot tell, for it also grows when every connection waits for a slow answer.
        """
        pacer, due = Pacer(), self._start
        if whole := self.spec.record == "histogram":
            due += self.spec.warmup / self.spec.rate
        try:
            while self.state == "running":
                pacer.until(due)
                self.pulse.append((due, time.perf_counter() - due))
                # Of a measurement no instant is left out: a stall counts for as much of a block as it took.
                due = due + CLOCK_SECONDS if whole else max(due, time.perf_counter()) + PULSE_SECONDS
        finally:
            pacer.close()

    def stop(self) -> None:
        """Send no more, and return when what is under way was answered or given up; all of it stays readable."""
        if self.state == "running":
            self.state = "stopped"
        self._watch.join()

    def report(self, since: int) -> dict[str, object]:
        """The answer to `GET /run/<id>`: records from number `since` on, or the histograms when it is over."""
        told: dict[str, object] = {
            "state": self.state,
            "problem": self.problem,
            "requests": len(self.rows),
            "errors": sum(1 for row in self.rows if not served(row[3])),
            "now": time.time(),
            "start": self._epoch + self._start,
        }
        if self.spec.record == "requests":
            told["records"] = [self._record(row) for row in self.rows[since:]]
            if self.state != "running":
                told["pulse"] = [(due + self._epoch, late) for due, late in self.pulse]
        elif self.state != "running":
            told["histograms"] = {
                "latency": histograms.encode(histograms.histogram(row[2] - row[0] for row in self.rows)),
                "service": histograms.encode(histograms.histogram(row[2] - row[1] for row in self.rows)),
                "lag": histograms.encode(histograms.histogram(row[1] - row[0] for row in self.rows)),
                "clock": histograms.encode(histograms.histogram(late for _, late in self.pulse)),
            }
        return told

    def _record(self, row: Row) -> dict[str, object]:
        intended, sent, done, status, error, body = row
        pod = _POD.search(body)
        return {
            "intended": intended + self._epoch,
            "start": sent + self._epoch,
            "seconds": done - sent,
            "status": status,
            "error": error,
            "pod": pod.group(1).decode() if pod else None,
        }


class Control:
    """The WSGI application behind the control port."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
        """Answer one call."""
        try:
            status, reply = self._answer(environ)
        except RequestFailed as failed:
            status, reply = "400 Bad Request", {"problem": f"load job: the host of the url: {failed.word}"}
        except (MeshproofError, ValueError) as problem:
            status, reply = "400 Bad Request", {"problem": str(problem)}
        data = json.dumps(reply).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        yield data

    def _answer(self, environ: dict[str, Any]) -> tuple[str, dict[str, object]]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if (method, path) == ("GET", "/clock"):
            return "200 OK", {"now": time.time()}
        if (method, path) == ("POST", "/run"):
            spec = LoadSpec.from_json(json.loads(environ["wsgi.input"].read()))
            busy = [job for job in self.jobs.values() if job.state == "running"]
            if busy and spec.count > PROBE_REQUESTS:
                return "409 Conflict", {"problem": "a load job is running; two at once would measure each other"}
            name = str(len(self.jobs) + 1)
            self.jobs[name] = Job(spec)
            for old in list(self.jobs.values())[:-KEPT_JOBS]:
                old.rows = old.rows if old.state == "running" else []
            return "200 OK", {"id": name}
        found = self.jobs.get(path.removeprefix("/run/"))
        if not path.startswith("/run/") or found is None or method not in ("GET", "DELETE"):
            return "404 Not Found", {"problem": f"no {method} {path}"}
        if method == "DELETE":
            found.stop()
        since = int(parse_qs(environ["QUERY_STRING"]).get("since", ["0"])[0])
        return "200 OK", found.report(since)


def main(arguments: list[str] | None = None) -> None:
    """Serve the control port until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m load.driver", description="Open-loop load driver for a pod.")
    parser.add_argument("--port", type=int, default=CONTROL_PORT, help="loopback control port")
    port = parser.parse_args(arguments).port
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    tighten_timer_slack()
    server = WSGIServer(("127.0.0.1", port), Control(), log=None)
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop)
    server.start()
    gc.freeze()
    server.serve_forever()


if __name__ == "__main__":
    main()
