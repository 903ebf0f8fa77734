"""A user's mistakes with kubeconfigs: one sentence each, and soon."""

import socket

import pytest
import yaml

from fixtures.kube import Kube
from reports.errors import EnvironmentProblem


def kubeconfig(path, server="https://127.0.0.1:1", **cluster):
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return path


def problem(*args, **options):
    with pytest.raises(EnvironmentProblem) as caught:
        Kube.connect(*args, **options)
    assert "\n" not in caught.value.problem
    assert caught.value.fix
    return caught.value.problem


def test_missing_file(tmp_path):
    assert "does not exist" in problem(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "{", "[]", "just words", "clusters: 5", "apiVersion: v1\nkind: Config\n"])
def test_broken_file(tmp_path, text):
    path = tmp_path / "broken"
    path.write_text(text)
    assert str(path) in problem(path)


def test_unknown_context(tmp_path):
    assert "with context elsewhere" in problem(kubeconfig(tmp_path / "k"), context="elsewhere")


def test_nobody_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = problem(kubeconfig(tmp_path / "k", f"https://127.0.0.1:{port}"))
    assert said.endswith("is unreachable: connection refused")


def test_a_server_that_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = problem(kubeconfig(tmp_path / "k", f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert said.endswith("it does not answer in time")


def test_a_server_that_is_no_api_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        path = kubeconfig(tmp_path / "k", f"http://127.0.0.1:{other.getsockname()[1]}")
        import threading

        def answer():
            peer, _ = other.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        said = problem(path)
        thread.join()
    assert "is not a Kubernetes API server" in said
