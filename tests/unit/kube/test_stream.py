"""Port-forward and exec against a server that speaks the WebSocket protocol of the API server, byte by byte."""

import base64
import contextlib
import gc
import hashlib
import json
import socket
import struct
import threading

import pytest
import yaml

from fixtures.kube import ApiProblem, ForwardProblem, Kube, eventually
from fixtures.kube.rest import open_api
from fixtures.kube.timeouts import TIMEOUTS

BINARY, CLOSE = 2, 8


class Peer:
    """The server's end of one WebSocket."""

    def __init__(self, connection):
        self.connection = connection
        self.file = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            if not line:
                raise ConnectionResetError
            head += line
        self.path = head.split()[1].decode()
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode().splitlines()[1:])
        }

    def accept(self):
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        answer = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.connection.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {answer}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode()
        )

    def refuse(self, status, body):
        data = json.dumps(body).encode()
        self.connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(data), data))

    def send(self, channel, data, kind=BINARY):
        payload = bytes([channel]) + data if kind == BINARY else data
        size = len(payload)
        head = struct.pack("!BB", 0x80 | kind, size) if size < 126 else struct.pack("!BBH", 0x80 | kind, 126, size)
        self.connection.sendall(head + payload)

    def receive(self):
        """The channel and the data of one frame; None at the end."""
        head = self.file.read(2)
        if len(head) < 2 or head[0] & 15 == CLOSE:
            return None
        size = head[1] & 127
        if size == 126:
            size = int.from_bytes(self.file.read(2), "big")
        elif size == 127:
            size = int.from_bytes(self.file.read(8), "big")
        mask = self.file.read(4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.file.read(size)))
        return data[0], data[1:]

    def open_channels(self, port):
        self.accept()
        for channel in (0, 1):
            self.send(channel, port.to_bytes(2, "little"))


@contextlib.contextmanager
def cluster(tmp_path, behave):
    """A `Kube` whose WebSockets are handled by `behave(peer)`."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            peer = Peer(connection)
            with peer.file:
                behave(peer)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                thread = threading.Thread(target=serve, args=(connection,))
                thread.start()
                threads.append(thread)

    accepting = threading.Thread(target=accept)
    accepting.start()
    path = tmp_path / "kubeconfig"
    server = {"server": f"http://127.0.0.1:{listener.getsockname()[1]}"}
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(config))
    kube = Kube(open_api(path, None))
    try:
        yield kube
    finally:
        kube.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join(20)
            assert not thread.is_alive()
        gc.collect()  # a socket that was left open is a warning, and warnings are errors


def loud(peer):
    """Answers every piece with itself in capitals."""
    peer.open_channels(8080)
    while frame := peer.receive():
        peer.send(0, frame[1].upper())


def read(stream, size):
    stream.settimeout(5)
    seen = b""
    while len(seen) < size and (piece := stream.recv(size)):
        seen += piece
    return seen


def test_bytes_go_both_ways(tmp_path):
    seen = []

    def behave(peer):
        seen.append((peer.path, peer.headers["authorization"], peer.headers["sec-websocket-protocol"]))
        loud(peer)

    with cluster(tmp_path, behave) as kube:
        stream = kube.dial("ns", "pod", 8080)
        stream.socket.sendall(b"hello")
        assert read(stream.socket, 5) == b"HELLO"
        text = b"x" * 50_000
        stream.socket.sendall(text)
        assert read(stream.socket, len(text)) == text.upper()
        stream.close()
    assert seen == [
        ("/api/v1/namespaces/ns/pods/pod/portforward?ports=8080", "Bearer secret", "v4.channel.k8s.io"),
    ]


def test_a_refused_forward_tells_the_servers_reason(tmp_path):
    with (
        cluster(tmp_path, lambda peer: peer.refuse(404, {"message": 'pods "pod" not found'})) as kube,
        pytest.raises(ForwardProblem, match='cannot forward to ns/pod:80: pods "pod" not found'),
    ):
        kube.dial("ns", "pod", 80)


@pytest.mark.parametrize("how", ["error", "close", "cut"])
def test_a_forward_that_breaks_says_why(tmp_path, how):
    def behave(peer):
        peer.open_channels(80)
        if how == "error":
            peer.send(1, b"connection refused\n")
        elif how == "close":
            peer.send(0, b"", CLOSE)

    with cluster(tmp_path, behave) as kube:
        stream = kube.dial("ns", "pod", 80)
        assert read(stream.socket, 1) == b""
        assert eventually(lambda: stream.error, timeout=20, what="the reason is known")
        if how == "error":
            assert stream.error == "connection refused"
        stream.close()


def test_a_local_port_opens_a_stream_a_connection(tmp_path):
    with cluster(tmp_path, loud) as kube, kube.forward("ns", "pod", 8080) as address:
        peers = [socket.create_connection(address, 5) for _ in range(3)]
        for n, peer in enumerate(peers):
            peer.sendall(b"peer %d" % n)
        for n, peer in enumerate(peers):
            assert read(peer, 6) == b"PEER %d" % n
            peer.close()


def test_a_first_stream_that_broke_unused_is_replaced(tmp_path):
    calls = []

    def behave(peer):
        calls.append(1)
        if len(calls) == 1:
            peer.open_channels(80)
            peer.send(1, b"connection refused")
        else:
            loud(peer)

    with cluster(tmp_path, behave) as kube:
        forward = kube.forward("ns", "pod", 80)
        with forward as address:
            eventually(lambda: forward._first.error, timeout=20, what="the first stream broke")
            with socket.create_connection(address, 5) as peer:
                peer.sendall(b"hello")
                assert read(peer, 5) == b"HELLO"


def test_a_pod_that_is_gone_closes_connections_to_the_local_port(tmp_path):
    alive = [True]

    def behave(peer):
        if alive:
            alive.clear()
            peer.open_channels(80)
            peer.receive()
        else:
            peer.refuse(404, {"message": "gone"})

    with cluster(tmp_path, behave) as kube:
        forward = kube.forward("ns", "pod", 80)
        with forward as address:
            for _ in range(2):
                with socket.create_connection(address, 5) as peer:
                    peer.sendall(b"hello")
                    with contextlib.suppress(ConnectionResetError):
                        assert read(peer, 1) == b""
            assert "gone" in forward.error


def test_a_command(tmp_path):
    seen = []

    def behave(peer):
        seen.append(peer.path)
        peer.accept()
        peer.send(1, b"out")
        peer.send(2, b"err")
        peer.send(1, b"put \xe2\x82\xac")
        failed = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "9"}]}}
        peer.send(3, json.dumps(failed).encode())
        peer.send(0, b"", CLOSE)

    with cluster(tmp_path, behave) as kube:
        ran = kube.exec("ns", "pod", ["sh", "-c", "a b"], container="main")
    assert (ran.stdout, ran.stderr, ran.code) == ("output €", "err", 9)
    assert seen == [
        "/api/v1/namespaces/ns/pods/pod/exec?stdout=1&stderr=1&command=sh&command=-c&command=a+b&container=main"
    ]


def test_a_command_without_an_end(tmp_path):
    def hang(peer):
        peer.accept()
        peer.receive()

    with cluster(tmp_path, hang) as kube, pytest.raises(ApiProblem, match=r"did not end within 0\.2 s"):
        kube.exec("ns", "pod", ["sleep"], timeout=0.2)
    with (
        cluster(tmp_path, lambda peer: peer.accept()) as kube,
        pytest.raises(ApiProblem, match="broke before the exit code"),
    ):
        kube.exec("ns", "pod", ["sleep"])


def test_a_server_that_says_nothing(tmp_path, monkeypatch):
    def silent(peer):
        peer.connection.recv(1)

    monkeypatch.setattr("fixtures.kube.client.TIMEOUTS", TIMEOUTS.scaled(0.02))
    with cluster(tmp_path, silent) as kube, pytest.raises(ForwardProblem, match="timed out"):
        kube.dial("ns", "pod", 80)
