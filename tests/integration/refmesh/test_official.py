"""The official Gateway API conformance suite passes: every mesh test, none skipped, and the core tests of gateways."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fixtures.cluster.embedded.provider import EmbeddedProvider
from tests.gateway_api import official
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.official, pytest.mark.xdist_group("refmesh")]


def test_every_mesh_test_of_the_official_suite_passes(mesh: Mesh, tmp_path: Path) -> None:
    suite, image, report = tmp_path / "suite", tmp_path / "echo.tar", tmp_path / "report.yaml"
    official.build_suite(suite)
    official.build_image(image)
    EmbeddedProvider().load(mesh.cluster.name, image)
    found = official.run(suite, mesh.cluster.kubeconfig, report)
    assert (found.code, found.failed) == (0, ()), found.output[-20_000:]
    # A test whose features are not named is skipped without a word.
    assert not [name for name in found.skipped if name.startswith("Mesh")]
    assert len(found.passed) >= 23
    assert_success(report, official.PROFILES)


def test_every_test_of_gateways_passes_that_asks_for_what_refmesh_has(mesh: Mesh, tmp_path: Path) -> None:
    suite, report = tmp_path / "suite", tmp_path / "report.yaml"
    official.build_suite(suite)
    for image in official.build_basic_images(tmp_path):
        EmbeddedProvider().load(mesh.cluster.name, image)
    found = official.run(suite, mesh.cluster.kubeconfig, report, gateway=True)
    assert (found.code, found.failed) == (0, ()), found.output[-20_000:]
    assert len(found.passed) >= 92
    assert_success(report, official.GATEWAY_PROFILES, unsupported=True)


def assert_success(report: Path, profiles: tuple[str, ...], *, unsupported: bool = False) -> None:
    """The report is about these profiles, and good. `unsupported`: there may be features that were not asked for."""
    written = yaml.safe_load(report.read_text(encoding="utf-8"))
    assert {profile["name"] for profile in written["profiles"]} == set(profiles)
    for profile in written["profiles"]:
        for part in ("core", "extended"):
            if part in profile:
                assert profile[part]["result"] == "success"
                assert unsupported or not profile[part].get("unsupportedFeatures")
