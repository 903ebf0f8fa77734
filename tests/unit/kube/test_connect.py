"""A user's mistakes with kubeconfigs: one sentence each, and soon."""

import socket

import pytest
import urllib3
import yaml

from fixtures.kube import Kube
from fixtures.kube.rest import open_api
from fixtures.proxies import OWN, exempt_own_clusters
from reports.errors import EnvironmentProblem, UsageProblem


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


def problem(*args, kind=EnvironmentProblem, **options):
    with pytest.raises(kind) as caught:
        Kube.connect(*args, **options)
    assert "\n" not in caught.value.problem
    assert caught.value.fix
    return caught.value.problem


def test_missing_file(tmp_path):
    assert "does not exist" in problem(tmp_path / "none", kind=UsageProblem)


def test_no_file_named_and_none_in_the_usual_place(tmp_path, monkeypatch):
    """As in a job that has yet to log in: what the client says, "Invalid kube-config file", is of a file."""
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    assert problem(None, kind=UsageProblem).startswith("there is no kubeconfig")


@pytest.mark.parametrize("text", ["", "{", "[]", "just words", "clusters: 5", "apiVersion: v1\nkind: Config\n"])
def test_broken_file(tmp_path, text):
    path = tmp_path / "broken"
    path.write_text(text)
    assert str(path) in problem(path, kind=UsageProblem)


def test_unknown_context(tmp_path):
    assert "with context elsewhere" in problem(kubeconfig(tmp_path / "k"), context="elsewhere", kind=UsageProblem)


def test_nobody_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = problem(kubeconfig(tmp_path / "k", f"https://127.0.0.1:{port}"))
    assert said.endswith("is unreachable: connection refused")


PROXY = "http://user:secret@127.0.0.1:1"
"""Where nobody listens."""


@pytest.fixture
def proxied(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)


@pytest.mark.parametrize("server", ["https://10.213.0.2:6443", "https://127.0.0.1:4", "https://localhost:4"])
def test_clusters_on_this_machine_are_reached_without_the_proxy(tmp_path, proxied, monkeypatch, server):
    from kubernetes.client.rest import should_bypass_proxies

    monkeypatch.setenv("NO_PROXY", "intern.example")
    api = open_api(kubeconfig(tmp_path / "k", server), None)
    assert type(api.client.rest_client.pool_manager) is urllib3.PoolManager
    assert should_bypass_proxies("https://intern.example", api.configuration.no_proxy)


def test_the_proxy_before_another_cluster_is_named_without_its_password(tmp_path, proxied):
    said = problem(kubeconfig(tmp_path / "k", "https://192.0.2.1:6443"))
    assert "is unreachable through the proxy http://127.0.0.1:1:" in said
    assert "secret" not in said


def test_a_proxy_that_the_kubeconfig_names_stands_before_the_loopback_too(tmp_path, proxied):
    path = kubeconfig(tmp_path / "k", "https://127.0.0.1:4", **{"proxy-url": "http://127.0.0.1:2"})
    assert "through the proxy http://127.0.0.1:2:" in problem(path)


def test_child_programs_keep_the_users_exceptions_and_get_ours():
    both = {"https_proxy": PROXY, "NO_PROXY": "a.example, b.example", "no_proxy": "c.example"}
    exempt_own_clusters(both)
    exempt_own_clusters(both)
    wanted = {"c.example", "a.example", "b.example", *OWN}
    assert both["NO_PROXY"] == both["no_proxy"]
    assert set(both["no_proxy"].split(",")) == wanted
    assert both["no_proxy"].count(OWN[0]) == 1
    none = {"HOME": "/root"}
    exempt_own_clusters(none)
    assert none == {"HOME": "/root"}


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
