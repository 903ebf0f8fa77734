"""How istioctl is called, and what becomes of its complaint. The real thing is an integration test."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.cluster.model import Cluster
from fixtures.images import Archive
from fixtures.meshes import MESHES, istio
from reports.errors import EnvironmentProblem

CLUSTER = Cluster("one", "embedded", Path("/k"), None)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An istioctl that writes down its arguments, and fails where the file `broken` is."""
    program = tmp_path / "istioctl"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n'
        f"test ! -e {tmp_path}/broken || {{ echo first >&2; echo 'no quorum' >&2; exit 1; }}\n"
    )
    program.chmod(0o755)
    images = (Archive(Path("/pilot.tar"), "h/pilot:1"), Archive(Path("/proxy.tar"), "h/proxyv2:1"))
    monkeypatch.setattr(istio, "program", lambda _: program)
    monkeypatch.setattr(istio, "build_istio", lambda: images)
    monkeypatch.setattr(istio, "gateway_definitions", list)
    monkeypatch.setattr(istio, "Kube", SimpleNamespace(connect=lambda *_: SimpleNamespace(close=lambda: None)))
    return tmp_path


def test_both_images_are_loaded_and_istioctl_gets_our_wish(called):
    loaded: list[Path] = []
    said: list[str] = []
    MESHES["istio"].install(CLUSTER, loaded.append, said.append)
    assert loaded == [Path("/pilot.tar"), Path("/proxy.tar")]
    arguments = (called / "arguments").read_text()
    assert arguments.startswith("install --skip-confirmation --kubeconfig /k --filename")
    assert "--set hub=meshproof.local/istio" in arguments
    assert said


def test_its_last_line_is_the_reason(called):
    (called / "broken").touch()
    with pytest.raises(EnvironmentProblem, match="istioctl cannot install Istio: no quorum"):
        istio.install(CLUSTER, lambda _: None, lambda _: None)
