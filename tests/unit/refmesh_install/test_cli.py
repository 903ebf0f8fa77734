"""The command line as a user meets it: a process, its output and its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from refmesh.ca.signing import Keyring
from refmesh.errors import UsageProblem
from refmesh.injector.templates import read
from refmesh.install.offline import inject_object, offline_config
from tests.unit.refmesh_injector.pods import CONFIG, pod

ROOT = Path(__file__).parents[3]


def refmesh(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"KUBECONFIG", "REFMESH_IMAGE"}}
    return subprocess.run(
        [sys.executable, "-m", "refmesh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment | env,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["install", "--kubeconfig", "/nowhere/config"], 3, "--image"),
        (["install", "--image", "x", "--set", "color=red"], 2, "color"),
        (["install", "--image", "x", "--profile", "huge"], 2, "huge"),
        (["install", "--image", "x", "--defect", "no-such"], 2, "no-such"),
        (["install", "--image", "x", "--kubeconfig", "/nowhere/config"], 3, "/nowhere/config"),
        (["check", "--kubeconfig", "/nowhere/config"], 3, "/nowhere/config"),
        (["inject", "-f", "/nowhere/pods.yaml"], 2, "/nowhere/pods.yaml"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_mistake_ends_in_one_sentence(arguments, code, word):
    done = refmesh(*arguments)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_cluster_is_one_sentence(tmp_path):
    config = tmp_path / "config"
    config.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    done = refmesh("check", "--kubeconfig", str(config))
    assert done.returncode == 3
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_broken_yaml_is_one_sentence(tmp_path):
    file = tmp_path / "pods.yaml"
    file.write_text("a: [")
    done = refmesh("inject", "-f", str(file))
    assert (done.returncode, "not valid YAML" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_with_root_and_image_pods_are_injected_without_a_cluster(tmp_path):
    root = Keyring.create().root_pem
    (tmp_path / "root.pem").write_bytes(root + b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump({"kind": "Pod", **pod()}))
    given = ["inject", "-f", str(tmp_path / "pod.yaml"), "--root-cert", str(tmp_path / "root.pem")]
    done = refmesh(*given, "--image", "mesh:1", "--trust-domain", "ours", KUBECONFIG="/nowhere")
    assert done.returncode == 0, done.stderr
    (injected,) = yaml.safe_load_all(done.stdout)
    _, proxy = injected["spec"]["initContainers"]
    environment = {entry["name"]: entry.get("value") for entry in proxy["env"]}
    assert proxy["image"] == "mesh:1"
    assert environment["REFMESH_ROOT_CERT"] == root.decode()
    assert environment["REFMESH_TRUST_DOMAIN"] == "ours"
    missing = refmesh(*given)
    assert (missing.returncode, "--image" in missing.stderr) == (2, True)


def test_what_the_webhook_would_warn_of_is_said_of_files_as_well():
    templates = read("defaultTemplates: [sidecar, a]\ntemplates: {a: {kind: x}}")
    said = list[str]()
    owner = {"kind": "Deployment", "metadata": {"name": "cart"}, "spec": {"template": pod()}}
    inject_object({"kind": "List", "items": [owner]}, replace(CONFIG, templates=templates), said.append)
    (told,) = said
    assert told.startswith("Deployment cart: template a is broken and was left out: templates.a.kind")


@pytest.mark.parametrize("content", [None, "nonsense", "\u00e4"])
def test_a_root_that_cannot_be_read_is_one_sentence(tmp_path, content):
    file = tmp_path / "root.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageProblem, match=r"--root-cert .* cannot be read"):
        offline_config(file, "mesh:1")


def test_dry_run_prints_objects_and_needs_no_cluster():
    done = refmesh("install", "--image", "mesh:1", "--dry-run", "--kubeconfig", "/nowhere")
    assert done.returncode == 0, done.stderr
    kinds = [obj["kind"] for obj in yaml.safe_load_all(done.stdout)]
    assert {"Deployment", "MutatingWebhookConfiguration", "CustomResourceDefinition"} <= set(kinds)
