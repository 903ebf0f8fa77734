from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from fixtures.images import cli, product
from fixtures.images.build import Archive, check
from fixtures.images.layout import PACKAGES
from fixtures.images.oci import architecture
from fixtures.images.product import IN_PODS, product_plan, product_version
from reports.errors import EnvironmentProblem


@pytest.fixture(scope="module")
def paths() -> set[PurePosixPath]:
    return {PurePosixPath(path).relative_to(PACKAGES) for path in product_plan().entries}


def test_what_pods_run_is_inside(paths: set[PurePosixPath]) -> None:
    for module in (
        "refmesh/server.py", "refmesh/agent/__main__.py", "refmesh/agent/capture.py", "refmesh/agent/hooks.py",
        "fixtures/workloads/pod/echo.py", "fixtures/workloads/pod/client.py", "fixtures/workloads/pod/sniffer.py",
        "load/driver.py", "chaos/janitor.py", "chaos/prober.py", "reports/errors.py",
    ):  # fmt: skip
        assert PurePosixPath(module) in paths, module


def test_what_must_not_be_inside_is_not(paths: set[PurePosixPath]) -> None:
    tops = {path.parts[0] for path in paths}
    assert tops == {*IN_PODS, f"meshproof-{product_version()}.dist-info"}
    for path in paths:
        assert path.parts[:2] not in {("fixtures", "cluster"), ("fixtures", "images")}, path
        assert not {"__pycache__", "tests", ".git", ".venv"}.intersection(path.parts), path
        assert path.suffix != ".pyc"


def test_the_key_changes_with_the_source_and_not_with_its_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_product"
    package.mkdir()
    module = package / "__init__.py"
    module.write_text("one = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = product_plan(("some_product",)).content()
    os.utime(module, (1, 1))
    assert product_plan(("some_product",)).content() == first
    module.write_text("one = 2\n")
    assert product_plan(("some_product",)).content() != first


def test_no_other_system_s_programs_become_an_image() -> None:
    check(platform="linux")
    with pytest.raises(EnvironmentProblem, match="takes Linux, and this is darwin") as refused:
        check(platform="darwin")
    assert "--kubeconfig" in refused.value.fix
    assert "--image" in refused.value.fix


def test_an_image_comes_with_what_pushes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = Archive(tmp_path / "a b.tar", "meshproof.local/meshproof:1")
    monkeypatch.setattr(cli, "build_archive", lambda: built)
    done = CliRunner().invoke(cli.app, ["product"])
    assert done.stdout == f"{built.path} {built.reference}\n"
    assert f"linux/{architecture()}" in done.stderr
    there = "YOUR-REGISTRY/meshproof:1"
    recipe = f"docker load -i '{built.path}' && docker tag {built.reference} {there} && docker push {there}"
    assert recipe in " ".join(done.stderr.split())


def test_the_key_changes_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    first = product_plan(("load",)).content()
    monkeypatch.setattr(product, "product_version", lambda: "99")
    assert product_plan(("load",)).content() != first
