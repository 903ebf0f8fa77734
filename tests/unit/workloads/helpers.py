"""Real echo and client processes on the loopback."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Program:
    """A pod program in a process of its own."""

    def __init__(self, module, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"fixtures.workloads.pod.{module}"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        word, *ports = self.process.stdout.readline().split()
        assert word == "ready"
        self.ports = [int(port) for port in ports]

    def status_kib(self, field):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(field)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=10):
        return self.process.wait(timeout)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Echo(Program):
    def __init__(self, linger="0", **more):
        super().__init__(
            "echo",
            ECHO_PORTS="0,0,0,0,0",
            ECHO_ADDRESS="127.0.0.1",
            ECHO_VERSION="v7",
            ECHO_LINGER_SECONDS=linger,
            POD_NAME="echo-0",
            POD_NAMESPACE="shop",
            POD_IP="10.0.0.7",
            **more,
        )
        self.http, self.grpc, self.tcp, self.https, self.control = self.ports


@contextmanager
def running(program):
    try:
        yield program
    finally:
        program.close()


@contextmanager
def serving(behave):
    """A server whose every connection is handled by `behave(socket)` in a thread; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=handle, args=(peer,))
            thread.start()
            threads.append(thread)

    def handle(peer):
        with peer, suppress(OSError):
            behave(peer)

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join(10)
            assert not thread.is_alive()


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


URLS = {
    "http1": "http://127.0.0.1:{http}/a?x=1",
    "h2c": "http://127.0.0.1:{http}/a?x=1",
    "grpc": "grpc://127.0.0.1:{grpc}",
    "tcp": "tcp://127.0.0.1:{tcp}",
}


def url(echo, protocol):
    return URLS[protocol].format(http=echo.http, grpc=echo.grpc, tcp=echo.tcp)
