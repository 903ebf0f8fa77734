"""What the pod programs cost and how fast they are, beside peers that are known.

    .venv/bin/python benchmarks/traffic_client.py [--seconds 3]

Everything runs on this machine's loopback: start time and idle memory of each program; requests a second from our
client, from wrk (Debian package `wrk`, if it is installed) and from aiohttp's client to our echo; and from wrk to our
echo and to an aiohttp server. A ratio above 1 means that ours is the faster one. Processor time a request is shown too:
unlike the rates, it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from fixtures.workloads.traffic import Batch, Client  # noqa: E402 - the clone itself, wherever this is started from

ECHO = {"ECHO_PORTS": "0,0,0,0,0", "ECHO_ADDRESS": "127.0.0.1", "ECHO_LINGER_SECONDS": "0"}


def start(module: str, **environment: str) -> tuple[subprocess.Popen[str], list[int], float]:
    begin = time.perf_counter()
    program = subprocess.Popen(
        [sys.executable, "-m", f"fixtures.workloads.pod.{module}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    ports = [int(port) for port in program.stdout.readline().split()[1:]]
    return program, ports, time.perf_counter() - begin


def memory(program: subprocess.Popen[str], field: str = "VmRSS") -> float:
    """MiB."""
    text = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"{field}:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def processor(program: subprocess.Popen[str]) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def costs() -> None:
    print("program    start (median of 5)   of processor time   idle memory")
    for module, environment in (
        ("echo", ECHO),
        ("client", {"CLIENT_CONTROL_PORT": "0"}),
        ("sniffer", {"SNIFFER_CONTROL_PORT": "0"}),
    ):
        times, sizes, busy = [], [], []
        for _ in range(5):
            program, _, took = start(module, **environment)
            times.append(took)
            sizes.append(memory(program))
            busy.append(processor(program))
            program.terminate()
            program.wait()
        took, used = statistics.median(times) * 1000, statistics.median(busy) * 1000
        print(f"{module:10} {took:10.0f} ms {used:20.0f} ms {max(sizes):17.1f} MiB")


def ours(client: Client, url: str, seconds: float, workers: int, **options: object) -> float:
    batch = Batch(url, duration=seconds, concurrency=workers, fields=("pod", "version"), **options)  # type: ignore[arg-type]
    found = client.batch(batch)
    assert all(record.ok for record in found)
    last = max(record.start + record.seconds for record in found)
    return len(found) / (last - min(record.start for record in found))


def wrk(url: str, seconds: float, workers: int) -> float | None:
    if shutil.which("wrk") is None:
        return None
    command = ["wrk", "-t1", f"-c{workers}", f"-d{max(1, round(seconds))}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]


async def aiohttp_client(url: str, seconds: float, workers: int) -> float:
    import aiohttp

    count, end = 0, time.monotonic() + seconds

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal count
        while time.monotonic() < end:
            async with session.get(url) as answer:
                await answer.json()
            count += 1

    begin = time.monotonic()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(work(session) for _ in range(workers)))
    return count / (time.monotonic() - begin)


AIOHTTP_SERVER = """
import time, uvloop
from aiohttp import web
async def answer(request):
    headers = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    return web.json_response({"pod": "p", "method": request.method, "path": request.path_qs, "host": request.host,
                              "headers": headers, "peer": request.remote, "at": time.time()})
async def main():
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("ready", site._server.sockets[0].getsockname()[1], flush=True)
    import asyncio
    await asyncio.Event().wait()
uvloop.run(main())
"""


def show(what: str, rate: float, peer: str, other: float | None) -> None:
    beside = "(wrk is not installed)" if other is None else f"{peer} {other:8.0f}/s   ratio {rate / other:.2f}"
    print(f"{what:42} {rate:8.0f}/s   {beside}")


def speed(seconds: float) -> None:
    echo, (http, grpc, tcp, https, _), _ = start("echo", **ECHO)
    sender, (control,), _ = start("client", CLIENT_CONTROL_PORT="0")
    server = subprocess.Popen([sys.executable, "-c", AIOHTTP_SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    other = int(server.stdout.readline().split()[1])
    url = f"http://127.0.0.1:{http}/"
    try:
        with Client.at("127.0.0.1", control) as client:
            for workers in (1, 8):
                mine = ours(client, url, seconds, workers)
                show(f"our client, {workers} connections", mine, "wrk    ", wrk(url, seconds, workers))
                theirs = asyncio.run(aiohttp_client(url, seconds, workers))
                show(f"our client, {workers} connections", mine, "aiohttp", theirs)
            for what, target, options in (
                ("a new connection each", url, {"fresh": True}),
                ("h2c", url, {"protocol": "h2c"}),
                ("gRPC", f"grpc://127.0.0.1:{grpc}", {"protocol": "grpc"}),
                ("gRPC, one connection", f"grpc://127.0.0.1:{grpc}", {"protocol": "grpc", "streams": 8}),
                ("TCP lines", f"tcp://127.0.0.1:{tcp}", {"protocol": "tcp"}),
                ("HTTPS", f"https://127.0.0.1:{https}/", {}),
            ):
                print(f"{f'our client, 8 workers, {what}':42} {ours(client, target, seconds, 8, **options):8.0f}/s")
            for protocol, target in (("http1", url), ("h2c", url), ("grpc", f"grpc://127.0.0.1:{grpc}")):
                before = processor(sender), processor(echo)
                client.batch(Batch(target, protocol=protocol, count=5000, concurrency=4, fields=("pod", "version")))
                used = processor(sender) - before[0], processor(echo) - before[1]
                each = [seconds / 5000 * 1e6 for seconds in used]
                print(f"processor time a request, {protocol}: client {each[0]:.0f} µs, echo {each[1]:.0f} µs")
            begin = time.perf_counter()
            client.batch(Batch(url, count=5000, concurrency=4, fields=("pod", "version")))
            print(f"5000 requests in one order, records on the runner: {time.perf_counter() - begin:.2f} s")
        served = wrk(url, seconds, 16)
        if served is not None:
            show(
                "our echo under wrk, 16 connections", served, "aiohttp", wrk(f"http://127.0.0.1:{other}/", seconds, 16)
            )
        print(f"memory at most: echo {memory(echo, 'VmHWM'):.1f} MiB, client {memory(sender, 'VmHWM'):.1f} MiB")
    finally:
        for program in (echo, sender, server):
            program.terminate()
            program.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement")
    costs()
    speed(parser.parse_args().seconds)


if __name__ == "__main__":
    main()
