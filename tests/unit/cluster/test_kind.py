"""kind: the config it is given, the archives it loads, and what is said where no Docker engine answers."""

from __future__ import annotations

import json
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fixtures.cluster.kind import engine, provider
from fixtures.cluster.kind.archives import NodeImage, program_layer, write_archive
from fixtures.cluster.kind.base_image import containerd_config, debian_mirror
from fixtures.cluster.kind.provider import KindProvider, check, cluster_config
from reports.errors import EnvironmentProblem, UsageProblem


def test_a_cgroup_v1_host_gets_the_kubelet_told_and_the_users_patches_stay() -> None:
    user = "kind: Cluster\nkubeadmConfigPatches: ['mine']\nnodes: [{role: control-plane}, {role: worker}]\n"
    config = yaml.safe_load(cluster_config(user, cgroup_v1=True))
    assert config["kubeadmConfigPatches"][0] == "mine"
    assert yaml.safe_load(config["kubeadmConfigPatches"][1])["failCgroupV1"] is False
    assert len(config["nodes"]) == 2
    assert "kubeadmConfigPatches" not in yaml.safe_load(cluster_config(None, cgroup_v1=False))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("a: [", "not YAML"),
        ("[]", "'kind'"),
        ("kind: Pod", "'kind'"),
        ("kind: Cluster\nkubeadmConfigPatches: no", "'kubeadmConfigPatches'"),
    ],
)
def test_a_broken_config_gets_one_sentence_that_names_file_and_field(text: str, field: str) -> None:
    with pytest.raises(UsageProblem, match=r"kind\.yaml") as raised:
        cluster_config(text, cgroup_v1=True, source="kind.yaml")
    assert field in raised.value.problem
    assert "\n" not in raised.value.problem


@given(st.text(max_size=200))
def test_no_text_makes_the_config_reader_raise_anything_else(text: str) -> None:
    with suppress(UsageProblem):
        assert yaml.safe_load(cluster_config(text, cgroup_v1=True))["kind"] == "Cluster"


def test_an_archive_holds_every_image_once_and_reads_back(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF")
    layer = program_layer(program, tmp_path / "tool.tar")
    images = [NodeImage("a.local/one:1", (), (layer,)), NodeImage("a.local/two:v2", ("/usr/local/bin/tool",), (layer,))]
    with tarfile.open(write_archive(images, tmp_path / "all.tar")) as archive:
        names = archive.getnames()
        assert len(names) == len(set(names))
        assert names[0] == "repositories"
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert [entry["RepoTags"] for entry in manifest] == [["a.local/one:1"], ["a.local/two:v2"]]
        assert manifest[0]["Layers"] == manifest[1]["Layers"]
        config = json.load(archive.extractfile(manifest[1]["Config"]))  # type: ignore[arg-type]
        assert config["config"]["Entrypoint"] == ["/usr/local/bin/tool"]


def test_the_mirror_is_the_one_apt_uses_for_the_suite() -> None:
    assert debian_mirror("sid http://x/\nbookworm http://mirror/debian/\n") == "http://mirror/debian/"
    assert debian_mirror("") is None


def test_containerd_may_not_lower_oom_scores() -> None:
    assert containerd_config("a\nrestrict_oom_score_adj = false\n") == "a\nrestrict_oom_score_adj = true\n"


def test_without_an_engine_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "docker_answers", lambda: False)
    with pytest.raises(EnvironmentProblem, match="no Docker engine answers") as raised:
        KindProvider().create("x")
    assert "embedded" in raised.value.fix
    assert KindProvider().list() == []


def test_on_another_system_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "docker_answers", lambda: True)
    with pytest.raises(EnvironmentProblem, match="on Linux only, and this is darwin") as raised:
        check(platform="darwin")
    assert "--kubeconfig" in raised.value.fix


def test_an_archive_says_which_machine_it_is_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    program = tmp_path / "tool"
    program.touch()
    image = NodeImage("a.local/one:1", (), (program_layer(program, tmp_path / "tool.tar"),))
    with tarfile.open(write_archive([image], tmp_path / "all.tar")) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(archive.extractfile(manifest[0]["Config"]))  # type: ignore[arg-type]
    assert config["architecture"] == "arm64"


def test_a_name_kind_does_not_take_is_a_usage_problem() -> None:
    with pytest.raises(UsageProblem, match="cluster name"):
        KindProvider().create("Not_A_Name")


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """An engine that answers and has nodes of the cluster `theirs`; the calls that were made of kind."""
    calls: list[tuple[str, ...]] = []

    def run(self: KindProvider, *arguments: str, what: str) -> str:
        calls.append(arguments)
        if arguments[0] == "create":
            raise EnvironmentProblem(f"{what} failed: node(s) already exist for a cluster with the name")
        return ""

    monkeypatch.setattr(engine, "docker_answers", lambda: True)
    monkeypatch.setattr(engine, "run", lambda *_, **__: "theirs\ntheirs\n")
    monkeypatch.setattr(KindProvider, "_kind", run)
    monkeypatch.setattr(KindProvider, "_node_image", lambda _: None)
    monkeypatch.setattr(provider, "make_room", lambda: calls.append(("room",)))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return calls


def test_a_cluster_of_somebody_else_is_refused_and_left_alone(kind: list[tuple[str, ...]]) -> None:
    with pytest.raises(UsageProblem, match="a kind cluster 'theirs' already"):
        KindProvider().create("theirs")
    assert not [call for call in kind if call[0] in ("create", "delete")]


def test_without_clusters_of_ours_kind_is_not_even_asked(kind: list[tuple[str, ...]]) -> None:
    assert KindProvider().list() == []
    assert kind == []


def test_to_list_clusters_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A preflight asks who made the cluster of a kubeconfig, where kind may never have been used."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> str:
        asked.append(command)
        return "theirs\nours\nours\n"

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("fixtures.cluster.kind.provider.program", lambda name: pytest.fail(f"{name} was fetched"))
    monkeypatch.setattr(engine, "docker_answers", lambda: True)
    monkeypatch.setattr(engine, "run", run)
    kept = tmp_path / "meshproof" / "kind" / "ours.kubeconfig"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert KindProvider().names() == {"theirs", "ours"}
    assert [one.name for one in KindProvider().list()] == ["ours"]
    label = "io.x-k8s.kind.cluster"
    assert asked[0] == ["docker", "ps", "-a", "--filter", f"label={label}", "--format", '{{.Label "' + label + '"}}']


def test_a_config_that_is_no_text_is_named(kind: list[tuple[str, ...]], tmp_path: Path) -> None:
    config = tmp_path / "kind.yaml"
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match=r"kind\.yaml cannot be read"):
        KindProvider().create("mine", config)
    assert kind == []


@pytest.mark.parametrize("host", [None, "unix:///run/user/0/docker.sock", "tcp://elsewhere:2376", "ssh://me@elsewhere"])
def test_room_is_made_where_the_engine_is(
    kind: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if host is not None:
        monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(EnvironmentProblem, match="already exist"):
        KindProvider().create("mine")
    assert [call[0] for call in kind] == ["create"] if host and "elsewhere" in host else ["room", "create"]


def test_without_root_too_little_room_is_one_line_and_no_error(
    kind: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise EnvironmentProblem("the limit is too low", fix="sudo sysctl")

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(provider, "make_room", refused)
    with pytest.raises(EnvironmentProblem, match="already exist"):
        KindProvider().create("mine")
    assert "!! the limit is too low\n  fix: sudo sysctl\n" in capsys.readouterr().err
