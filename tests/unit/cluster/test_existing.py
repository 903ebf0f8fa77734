from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fixtures import cluster as clusters
from fixtures.cluster import MANAGED_BY, Cluster, checked_name, cli, default_provider, provider
from fixtures.cluster.embedded.provider import EMBEDDED_PARTS
from fixtures.cluster.existing import ExistingProvider, agree, kubeconfig_context, owned, require_owned
from reports.errors import UsageProblem

OURS = {"metadata": {"name": "a", "labels": dict([MANAGED_BY])}}
THEIRS = {"metadata": {"name": "b"}}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump({"current-context": "one", "contexts": [{"name": "one"}, {"name": "two"}]}))
    return path


@pytest.mark.parametrize("name", ["a", "dev", "a-1", "1a", "x" * 30])
def test_names_that_are_valid(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "x" * 31, "a.b", "../a", "ä"])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(UsageProblem, match="is not valid"):
        checked_name(name)


def test_only_namespaces_with_our_label_are_touched() -> None:
    assert owned(OURS)
    assert not owned(THEIRS)
    require_owned(OURS, "a", "deleting it")
    with pytest.raises(UsageProblem, match="is not one of meshproof's, so deleting it is refused"):
        require_owned(THEIRS, "b", "deleting it")
    with pytest.raises(UsageProblem, match="there is no namespace 'c'"):
        require_owned(None, "c", "deleting it")


def test_destructive_work_is_agreed_to() -> None:
    agree("Delete it?", yes=True)
    agree("Delete it?", yes=False, ask=lambda _: "Y", terminal=lambda: True)
    with pytest.raises(UsageProblem, match="nothing was done"):
        agree("Delete it?", yes=False, ask=lambda _: "", terminal=lambda: True)

    def nobody(_: str) -> str:
        raise EOFError

    with pytest.raises(UsageProblem, match="nothing was done"):
        agree("Delete it?", yes=False, ask=nobody, terminal=lambda: True)
    with pytest.raises(UsageProblem) as caught:
        agree("Delete it?", yes=False, terminal=lambda: False)
    assert "--yes" in caught.value.fix


def test_a_context_is_chosen(kubeconfig: Path) -> None:
    assert kubeconfig_context(kubeconfig, None) == "one"
    assert kubeconfig_context(kubeconfig, "two") == "two"
    with pytest.raises(UsageProblem) as caught:
        kubeconfig_context(kubeconfig, "three")
    assert caught.value.fix == "it has: one, two"


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: [", "is not YAML"), ("[]", "no field 'contexts'"), ("", "no field"), ("contexts: []", "no current context"),
     ("contexts: 3", "no field 'contexts'")],
)  # fmt: skip
def test_a_broken_kubeconfig_is_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=problem):
        kubeconfig_context(path, None)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"the kubeconfig .*nothing cannot be read: No such file"):
        provider("existing", kubeconfig=tmp_path / "nothing").create("")


def test_an_existing_cluster_is_used_and_left_as_it_is(kubeconfig: Path, tmp_path: Path) -> None:
    existing = ExistingProvider(kubeconfig, "two")
    assert existing.create() == Cluster("two", "existing", kubeconfig, "two")
    assert existing.list() == [existing.create("two")]
    assert existing.kubeconfig("two") == kubeconfig
    with pytest.raises(UsageProblem, match="is not meshproof's to delete"):
        existing.delete("two")
    with pytest.raises(UsageProblem) as caught:
        existing.load("two", tmp_path / "image.tar")
    assert "--image" in caught.value.fix
    with pytest.raises(UsageProblem, match="is called by its context 'two'"):
        existing.create("mine")
    with pytest.raises(UsageProblem, match="takes no configuration file"):
        existing.create("two", kubeconfig)


def test_the_default_kubeconfig_is_the_environments(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfig}:/other")
    assert ExistingProvider().create().name == "one"


def test_a_relative_kubeconfig_is_found_from_every_directory(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kubeconfig.parent)
    assert ExistingProvider(Path("config")).create().kubeconfig == kubeconfig
    monkeypatch.setenv("KUBECONFIG", "config:/other")
    assert ExistingProvider().kubeconfig() == kubeconfig


def test_providers_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider("embedded").name == "embedded"
    assert provider("kind").name == "kind"
    with pytest.raises(UsageProblem, match="no cluster provider called 'minikube'"):
        provider("minikube")
    for answers, name in ((True, "kind"), (False, "embedded")):
        monkeypatch.setattr("fixtures.cluster.kind.engine.docker_answers", lambda answers=answers: answers)
        assert default_provider().name == name


class Fake:
    """A provider that remembers what it was asked."""

    def __init__(self, name: str, clusters: list[str], asked: list[tuple[str, ...]]) -> None:
        self.name, self.names, self.asked = name, clusters, asked

    def list(self) -> list[Cluster]:
        return [Cluster(name, self.name, Path(f"/state/{name}"), None) for name in self.names]

    def create(self, name: str, config: Path | None = None) -> Cluster:
        self.asked.append(("create", self.name, name, str(config)))
        return Cluster(name, self.name, Path(f"/state/{name}"), None)

    def load(self, name: str, archive: Path) -> None:
        self.asked.append(("load", name, str(archive)))

    def logs(self, name: str, directory: Path) -> None:
        self.asked.append(("logs", name, str(directory)))

    def delete(self, name: str) -> None:
        self.asked.append(("delete", name))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []
    fakes = {"embedded": Fake("embedded", ["one"], calls), "kind": Fake("kind", ["two"], calls)}
    monkeypatch.setattr(cli, "provider", lambda name, **_: fakes[name])
    monkeypatch.setattr(cli, "default_provider", lambda: fakes["kind"])
    return calls


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_find_the_provider_of_a_cluster(asked: list[tuple[str, ...]]) -> None:
    assert run("kubeconfig", "two") == "/state/two\n"
    run("load", "one", "image.tar")
    run("logs", "two", "dir")
    run("delete", "one", "two")
    run("create", "three", "--provider", "embedded")
    run("create")
    assert asked == [
        ("load", "one", "image.tar"), ("logs", "two", "dir"), ("delete", "one"), ("delete", "two"),
        ("create", "embedded", "three", "None"), ("create", "kind", "meshproof", "None"),
    ]  # fmt: skip


def test_an_image_is_loaded_into_a_cluster_of_kind_s_that_others_made(
    asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Fake("kind", [], asked)
    monkeypatch.setattr(theirs, "names", lambda: {"theirs"})
    monkeypatch.setattr(cli, "KindProvider", lambda: theirs)
    run("load", "theirs", "image.tar")
    assert asked == [("load", "theirs", "image.tar")]
    with pytest.raises(UsageProblem, match="there is no cluster 'nobody-s'"):
        run("load", "nobody-s", "image.tar")


@pytest.mark.parametrize("flags", [(), ("--kind",), ("--image",)])
def test_what_a_cluster_needs_is_had_beforehand(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    had: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cli, "ensure", had.extend)
    monkeypatch.setattr("fixtures.images.build_archive", lambda: had.append("image"))
    assert run("prefetch", *flags) == f"{tmp_path / 'meshproof'}\n"
    programs = ["kind"] if "--kind" in flags else [*EMBEDDED_PARTS]
    assert had == [*programs, "gateway-api", *(["image"] if "--image" in flags else [])]


def test_clusters_are_listed_in_every_form(asked: list[tuple[str, ...]]) -> None:
    rows = [
        {"name": "one", "provider": "embedded", "kubeconfig": "/state/one"},
        {"name": "two", "provider": "kind", "kubeconfig": "/state/two"},
    ]
    assert yaml.safe_load(run("list", "-o", "json")) == rows
    assert yaml.safe_load(run("list", "-o", "yaml")) == rows
    assert run("list").splitlines()[0].split() == ["name", "provider", "kubeconfig"]


def test_an_unknown_cluster_is_named_before_anything_is_deleted(asked: list[tuple[str, ...]]) -> None:
    with pytest.raises(UsageProblem, match="there is no cluster 'three'"):
        run("delete", "one", "three")
    assert asked == []


def test_a_name_is_taken_once(asked: list[tuple[str, ...]]) -> None:
    with pytest.raises(UsageProblem, match="there is a cluster 'two' already"):
        run("create", "two")
    with pytest.raises(UsageProblem, match="--node-image is for kind"):
        run("create", "four", "-p", "embedded", "--node-image", "x")
    assert asked == []


@pytest.mark.parametrize(
    "command", ["create", "list", "kubeconfig", "load", "logs", "delete", "prefetch", "build-node-image"]
)
def test_every_command_has_help_with_examples(command: str) -> None:
    assert "Examples" in run(command, "--help")


def test_the_host_packages_are_named() -> None:
    assert clusters.HOST_PACKAGES["ip"] == "iproute2"


def test_of_several_kubeconfigs_the_one_with_the_context_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kubeconfig: Path
) -> None:
    other, broken = tmp_path / "other", tmp_path / "broken"
    other.write_text(yaml.safe_dump({"contexts": [{"name": "three"}]}))
    broken.write_text("[")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{broken}:{other}:{kubeconfig}")
    assert ExistingProvider(context="three").create().kubeconfig == other
    assert ExistingProvider(context="two").create().kubeconfig == kubeconfig
    assert ExistingProvider().create() == Cluster("one", "existing", kubeconfig, "one")
    other.write_text(yaml.safe_dump({"current-context": "two", "contexts": [{"name": "three"}]}))
    monkeypatch.setenv("KUBECONFIG", f"{other}:{kubeconfig}")  # whose own current context is `one`
    assert ExistingProvider().create() == Cluster("two", "existing", kubeconfig, "two")
    monkeypatch.setenv("KUBECONFIG", f":{tmp_path}/none")
    with pytest.raises(UsageProblem, match="none cannot be read"):
        ExistingProvider().create()
