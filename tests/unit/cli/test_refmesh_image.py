"""`refmesh install` or a run without --image: our image in clusters of ours and kind's, a clear word elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fixtures.cluster import Cluster, owners, programs
from fixtures.cluster.existing import ExistingProvider
from fixtures.images import Archive
from meshproof_cli import images, preflight, refmesh_image
from meshproof_cli.plan import Options, Plan, Selection
from refmesh.cli import app, common, installing
from refmesh.errors import EnvironmentProblem
from refmesh.install import default_image
from refmesh.kubeconfig import located
from reports.errors import UsageProblem


def kubeconfig(folder: Path, name: str, server: str = "https://10.0.0.1:6443", root: str = "cm9vdA==") -> Path:
    cluster = {"server": server, "certificate-authority-data": root}
    path = folder / f"{name}.kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": name,
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                "clusters": [{"name": name, "cluster": cluster}],
            }
        )
    )
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """What was loaded: by which provider, into which cluster. One embedded cluster `dev` and one of kind's `box`."""
    found: list[tuple[str, str]] = []
    home = tmp_path / "home"
    home.mkdir()
    own = kubeconfig(home, "dev")
    box = kubeconfig(home, "kind-box", server="https://127.0.0.1:1", root="Ym94").read_text()

    def made(maker: str, **methods: Callable[..., Any]) -> Callable[[], Any]:
        def load(self: Any, name: str, archive: Path) -> None:
            found.append((maker, name))

        return type(maker, (), {"load": load} | {key: staticmethod(value) for key, value in methods.items()})

    monkeypatch.setattr(owners, "EmbeddedProvider", made("embedded", list=lambda: [Cluster("dev", "e", own)]))
    monkeypatch.setattr(owners, "KindProvider", made("kind", names=lambda: {"box"}, settings=lambda _: box))
    monkeypatch.setattr(refmesh_image, "build_archive", lambda: Archive(tmp_path / "a.tar", "ours:1"))
    monkeypatch.setattr(refmesh_image, "known_reference", lambda: "ours:1")
    return found


def test_a_cluster_of_ours_or_of_kind_s_gets_the_image(loaded: list[tuple[str, str]], tmp_path: Path) -> None:
    copied = kubeconfig(tmp_path, "a-name-of-my-own")
    assert refmesh_image.image_for(copied, None, load=True) == "ours:1"
    kind = kubeconfig(tmp_path, "kind-box", server="https://127.0.0.1:1", root="Ym94")
    assert refmesh_image.image_for(kind, "kind-box", load=True) == "ours:1"
    assert loaded == [("embedded", "dev"), ("kind", "box")]


def test_another_cluster_gets_none_even_under_a_name_that_kind_uses(
    loaded: list[tuple[str, str]], tmp_path: Path
) -> None:
    other = kubeconfig(tmp_path, "kind-box", server="https://192.0.2.1:6443", root="b3RoZXI=")
    assert not refmesh_image.image_for(other, None, load=True)
    assert refmesh_image.image_for(other, None, load=False) == "ours:1"
    assert not loaded


def holding(*nodes: list[str]) -> Any:
    return SimpleNamespace(list=lambda *_: [{"status": {"images": [{"names": names}]}} for names in nodes])


@pytest.mark.parametrize("name", ["a-name-of-my-own", "kind-box"])
def test_a_run_loads_into_any_cluster_that_was_made_here(
    name: str, loaded: list[tuple[str, str]], tmp_path: Path
) -> None:
    box = {"server": "https://127.0.0.1:1", "root": "Ym94"} if name == "kind-box" else {}
    there = ExistingProvider(kubeconfig(tmp_path, name, **box)).create()
    images.expect_a_way(holding([]), there)
    maker, own_name = images.loader(there, ExistingProvider())
    assert (type(maker).__name__, own_name) in {("embedded", "dev"), ("kind", "box")}


def test_a_run_on_another_cluster_ends_before_anything_is_built(
    loaded: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = kubeconfig(tmp_path, "theirs", server="https://192.0.2.1:6443", root="b3RoZXI=")
    nodes = [["registry.example/a:1"], ["meshproof.local/meshproof:1"]]
    kube = SimpleNamespace(list=lambda *words: holding(*nodes).list(*words), close=lambda: None)
    monkeypatch.setattr(preflight, "existing_cluster", lambda *_: kube)
    options = Options(kubeconfig=theirs)
    plan = Plan(options, Selection((), (), ()), "existing", create=False, build_image=True, workers=1)
    with pytest.raises(UsageProblem, match="cluster 'theirs': neither meshproof nor kind made it") as refused:
        preflight.check(plan)
    assert "--image" in refused.value.fix
    nodes[0].append("meshproof.local/meshproof:1")
    preflight.check(plan)
    monkeypatch.setattr(preflight, "image_check", lambda: pytest.fail("nothing is built of an image that is named"))
    preflight.check(replace(plan, options=replace(options, image="i"), build_image=False))
    monkeypatch.setattr(preflight, "image_check", lambda: None)
    nodes.clear()  # as of a user who may not list them
    preflight.check(replace(plan, options=replace(options, image="i"), build_image=False))
    with pytest.raises(UsageProblem):
        preflight.check(plan)


def test_the_command_says_how_to_get_an_image_to_a_cluster_of_somebody_s(
    loaded: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REFMESH_IMAGE", raising=False)
    other = kubeconfig(tmp_path, "theirs", server="https://192.0.2.1:6443", root="b3RoZXI=")
    done = CliRunner().invoke(app, ["install", "-y", "--kubeconfig", str(other)])
    assert "`meshproof image product`" in str(done.exception)
    assert "--image NAME" in str(done.exception)
    dry = CliRunner().invoke(app, ["install", "--dry-run", "--kubeconfig", str(other)])
    assert "image: ours:1" in dry.stdout


@pytest.mark.parametrize(("answer", "reached"), [("n", []), ("y", [("embedded", "dev")])])
def test_nothing_is_loaded_before_somebody_agrees(
    answer: str,
    reached: list[tuple[str, str]],
    loaded: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REFMESH_IMAGE", raising=False)
    monkeypatch.setattr(common, "has_terminal", lambda: True)
    monkeypatch.setattr(installing, "run", lambda *_: None)
    given = ["install", "--kubeconfig", str(kubeconfig(tmp_path, "ours")), "-o", "json"]
    done = CliRunner().invoke(app, given, input=f"{answer}\n")
    assert "Go on?" in done.output
    assert ('"ours:1"' in done.output, loaded) == (bool(reached), reached)


def test_a_name_is_told_without_making_a_program_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(programs, "_make", lambda part, _: pytest.fail(f"{part.name} is made"))
    found = refmesh_image.image_for(tmp_path / "none", None, load=False)
    assert found == "meshproof.local/meshproof:not-built-yet"


@pytest.mark.parametrize("context", [None, "ours"])
def test_of_several_files_the_one_that_has_the_context_is_meant(
    context: str | None, loaded: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = kubeconfig(tmp_path, "theirs", server="https://192.0.2.1:6443", root="b3RoZXI=")
    if context is None:
        theirs.write_text(theirs.read_text().replace("current-context: theirs", "current-context: ours"))
    ours = kubeconfig(tmp_path, "ours")
    ours.write_text(ours.read_text().replace("current-context: ours", "current-context: another"))
    paths = ["", str(tmp_path / "none"), str(theirs), str(ours)]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(paths))
    assert default_image.default_image(None, context, load=True) == "ours:1"
    assert loaded == [("embedded", "dev")]


@pytest.mark.parametrize("context", [None, "a", "b", "c"])
@pytest.mark.parametrize(
    "names", ["", ":", "a", "a:b", "b:a", ":b", "none:b:a", "none", "none:gone", "bad:b", "bad:none"]
)
def test_refmesh_and_the_rest_take_the_same_file(
    names: str, context: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        kubeconfig(tmp_path, name).rename(tmp_path / name)
    (tmp_path / "bad").write_text("{")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", names)
    assert located(None, context)[0].absolute() == ExistingProvider(None, context)._path


def test_a_root_beside_the_kubeconfig_is_found_from_anywhere(loaded: list[tuple[str, str]], tmp_path: Path) -> None:
    ours = kubeconfig(tmp_path, "ours")
    ours.write_text(ours.read_text().replace("certificate-authority-data: cm9vdA==", "certificate-authority: ca.pem"))
    (tmp_path / "ca.pem").write_bytes(b"root")
    assert refmesh_image.image_for(ours, None, load=True) == "ours:1"
    assert loaded == [("embedded", "dev")]


def test_a_builder_that_was_left_out_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REFMESH_IMAGE", raising=False)
    left_out = EntryPoint("meshproof", "no_such_package.refmesh_image:image_for", default_image.GROUP)
    monkeypatch.setattr(default_image, "entry_points", lambda **_: [left_out])
    assert "No image of the control plane was named" in str(CliRunner().invoke(app, ["install", "-y"]).exception)


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentProblem, match="does not say which cluster is meant"):
        default_image.default_image(tmp_path / "none", None, load=True)

    def full() -> Archive:
        raise UsageProblem("The disk is full", fix="free some")

    monkeypatch.setattr(refmesh_image, "known_reference", full)
    with pytest.raises(EnvironmentProblem, match=r"The disk is full\. Free some\. Or give"):
        default_image.default_image(None, None, load=False)
