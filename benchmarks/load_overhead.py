"""What the load driver itself adds: how late it sends, and how long its client takes over a loopback round trip.

Compares the two choices of the driver with what locust offers out of the box: a timerfd against gevent's timers, and
our small client against locust's FastHttpUser session. Run it on a quiet machine: python benchmarks/load_overhead.py
"""

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402  # gevent must patch before anything else is imported
import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import gevent
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook

from load.histograms import percentile
from load.pacer import Pacer, tighten_timer_slack
from load.wire import Connection, Target

SERVER = """
import asyncio, uvloop
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 16\\r\\n\\r\\n" + b'{"pod": "bench"}'
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
        if data.endswith(b"\\r\\n\\r\\n"): self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
uvloop.run(main())
"""


def blocking(url: str) -> Callable[[], object]:
    """The floor: a blocking socket, sendall and recv, no parser. gevent is bypassed by an unpatched socket."""
    real = monkey.get_original("socket", "socket")
    target = Target(url, {})
    connection = real(target.family, 1)
    connection.connect(target.address)

    def exchange() -> object:
        connection.sendall(target.request)
        return connection.recv(65536)

    return exchange


def paced(wait: Callable[[float], object], exchange: Callable[[], object], rate: float, seconds: float) -> None:
    count = int(rate * seconds)
    start = time.perf_counter() + 0.05
    lag, service = [], []
    for index in range(count):
        intended = start + index / rate
        wait(intended)
        sent = time.perf_counter()
        exchange()
        done = time.perf_counter()
        if index >= 50:
            lag.append((sent - intended) * 1e6)
            service.append((done - sent) * 1e6)
    for name, values in (("lag", lag), ("service", service)):
        ordered = sorted(values)
        told = "  ".join(f"p{p:g} {percentile(ordered, p):7.0f}" for p in (50, 90, 99, 100))
        print(f"    {name:8} µs  {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
    tighten_timer_slack()
    pacer, connection = Pacer(), Connection(Target(url, {}), 5.0)
    session = FastHttpSession(base_url=url.rstrip("/"), request_event=EventHook(), user=None)

    def sleeping(instant: float) -> None:
        gevent.sleep(max(0.0, instant - time.perf_counter()))

    try:
        for title, wait, exchange in (
            ("floor: timerfd, blocking socket without a parser", pacer.until, blocking(url)),
            ("the driver: timerfd, own client", pacer.until, connection.exchange),
            ("gevent.sleep, own client", sleeping, connection.exchange),
            ("timerfd, locust's FastHttpSession", pacer.until, lambda: session.get("/")),
        ):
            print(title)
            paced(wait, exchange, given.rate, given.seconds)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
