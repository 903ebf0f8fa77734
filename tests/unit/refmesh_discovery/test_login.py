"""Login plugins of kubeconfigs: real programs, run as kubectl would."""

from __future__ import annotations

import json
import ssl
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from refmesh.ca.signing import Keyring
from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import Kube

V1 = "client.authentication.k8s.io/v1"
PLUGIN = """#!{python}
import json, os, pathlib, sys
log = pathlib.Path(__file__).with_suffix(".log")
told = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
asked = {{"arguments": sys.argv[1:], "colour": os.environ.get("COLOUR"), "told": told}}
log.write_text((log.read_text() if log.exists() else "") + json.dumps(asked) + "\\n")
answer = pathlib.Path(__file__).with_suffix(".answer").read_text()
sys.exit(int(answer)) if answer.isdigit() else print(answer)
"""


class Plugin:
    """A program in a folder, what it answers, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "plugin"
        program.write_text(PLUGIN.format(python=sys.executable))
        program.chmod(0o755)

    def answer(self, status: dict[str, Any] | str, version: str = V1) -> None:
        said = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        text = status if isinstance(status, str) else json.dumps(said)
        (self.folder / "plugin.answer").write_text(text)

    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "plugin.log").read_text().splitlines()]

    def header(self, **more: Any) -> dict[str, str]:
        return self.kube(**more)._token.header()

    def kube(self, server: str = "https://127.0.0.1:1", **more: Any) -> Kube:
        user = {"exec": {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never", **more}}
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": user}],
        }
        (self.folder / "config").write_text(yaml.safe_dump(config))
        return Kube.from_kubeconfig(self.folder / "config")


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


@pytest.mark.parametrize("version", [V1, "client.authentication.k8s.io/v1beta1"])
def test_a_token_is_asked_for_as_kubectl_does(plugin: Plugin, version: str) -> None:
    plugin.answer({"token": "s3cret"}, version)
    env = [{"name": "COLOUR", "value": "red"}]
    header = plugin.header(apiVersion=version, args=["get-token", "-x"], env=env, provideClusterInfo=True)
    assert header == {"Authorization": "Bearer s3cret"}
    (asked,) = plugin.asked()
    assert (asked["arguments"], asked["colour"]) == (["get-token", "-x"], "red")
    spec = {"interactive": False, "cluster": {"server": "https://127.0.0.1:1"}}
    assert asked["told"] == {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def test_the_plugin_is_asked_again_only_when_its_token_ends(plugin: Plugin) -> None:
    plugin.answer({"token": "old", "expirationTimestamp": "2999-01-01T00:00:00Z"})
    kube = plugin.kube()
    assert [kube._token.header() for _ in range(2)] == [{"Authorization": "Bearer old"}] * 2
    assert len(plugin.asked()) == 1
    plugin.answer({"token": "short", "expirationTimestamp": "2001-01-01T00:00:00Z"})
    kube = plugin.kube()
    assert kube._token.header() == {"Authorization": "Bearer short"}
    plugin.answer({"token": "new"})
    assert kube._token.header() == {"Authorization": "Bearer new"}


def test_a_client_certificate_is_shown(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = list[str]()
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda _, path: shown.append(Path(path).read_text()))
    chain, key = Keyring.create().server_pair(["anyone"], "spiffe://x/y", timedelta(days=1))
    plugin.answer({"clientCertificateData": chain.decode(), "clientKeyData": key.decode()})
    assert plugin.header() == {}
    (text,) = shown
    assert chain.decode() in text
    assert key.decode() in text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("7", "failed with exit code 7"),
        ("s3cret", "is no ExecCredential"),
        (json.dumps({"kind": "Pod", "apiVersion": "v1", "status": {"token": "s3cret"}}), "is no ExecCredential"),
        ({"token": ""}, "neither a token nor a client certificate"),
        ({"clientCertificateData": "s3cret"}, "neither a token nor a client certificate"),
        ({"clientCertificateData": "s3cret", "clientKeyData": "s3cret"}, "do not belong together"),
        ({"token": "s3cret", "expirationTimestamp": "s3cret"}, "is no ExecCredential"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_sentence_without_it(plugin: Plugin, answer: Any, words: str) -> None:
    plugin.answer(answer)
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        plugin.header()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"command": "no-such-plugin", "installHint": "Get it\nat the shop."}, "not installed. Get it at the shop."),
        ({"command": ""}, "without a command"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "It must be client.authentication.k8s.io/v1 or"),
        ({"interactiveMode": "Sometimes"}, "interactiveMode 'Sometimes'"),
    ],
)
def test_a_plugin_that_cannot_be_run_is_one_sentence(plugin: Plugin, more: dict[str, Any], words: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        plugin.header(**more)
    assert words in str(caught.value)
