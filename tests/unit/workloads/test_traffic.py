"""The runner's side when things go wrong between it and the pod."""

import socket
import threading

import pytest

from fixtures.kube import ForwardProblem, NotEventually
from fixtures.workloads.batch import Batch
from fixtures.workloads.traffic import Client, Control, patience
from tests.unit.workloads.helpers import Program, running


def test_a_client_that_dies_is_told_in_one_sentence():
    with running(Program("client", CLIENT_CONTROL_PORT="0")) as program:
        with Client.at("127.0.0.1", program.ports[0]) as client:
            program.process.kill()
            program.wait()
            with pytest.raises(ForwardProblem, match="broke off during POST /jobs") as caught:
                client.start(Batch("http://127.0.0.1:1/"))
            assert "\n" not in caught.value.problem
            with pytest.raises(ForwardProblem, match="refused"):
                client.start(Batch("http://127.0.0.1:1/"))


def test_a_client_that_never_comes(monkeypatch):
    from fixtures.kube.timeouts import TIMEOUTS, Timeouts
    from fixtures.workloads import traffic

    monkeypatch.setattr(traffic, "TIMEOUTS", Timeouts(forward=0.2))
    assert TIMEOUTS.forward > 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotEventually, match="takes orders"):
        Client.at("127.0.0.1", port).__enter__()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "broke off"),
        (b"hello\r\n\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "refused"),
    ],
)
def test_a_control_port_that_is_none(answer, said):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    control = Control.of_address(*listener.getsockname())
    with pytest.raises(Exception, match=said):
        control.order("GET", "/x")
    thread.join()
    listener.close()
    control.close()


def test_a_control_port_that_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        control = Control.of_address(*silent.getsockname())
        with pytest.raises(ForwardProblem, match=r"did not answer GET /x within 0\.1 s"):
            control.order("GET", "/x", timeout=0.1)
        control.close()


def test_patience_is_the_longest_a_batch_can_take():
    slack = patience(Batch("http://a", timeout=2)) - 4
    assert slack > 0
    assert patience(Batch("http://a", count=100, concurrency=10, timeout=2)) == pytest.approx(22 + slack)
    assert patience(Batch("http://a", count=100, rate=10, timeout=2)) == pytest.approx(12 + slack)
    assert patience(Batch("http://a", duration=5, timeout=2)) == pytest.approx(7 + slack)
