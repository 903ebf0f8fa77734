from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import paths
from fixtures.cluster import building, downloads, golang, programs
from fixtures.cluster.downloads import published_sum
from fixtures.cluster.locks import exclusive, try_exclusive
from fixtures.cluster.parts import PARTS, SOURCES, Download, Part, part_of
from reports.errors import EnvironmentProblem


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Go's own cache follows the same variable; without it the standard library would be compiled anew.
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    monkeypatch.setenv("GOCACHE", os.environ.get("GOCACHE") or str(home / "go-build"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (paths.cache_dir() / "programs").mkdir(parents=True)
    monkeypatch.setattr(downloads, "_unreachable", {})
    monkeypatch.setattr(downloads, "_said", set())
    return tmp_path


def test_directories_follow_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert paths.cache_dir() == tmp_path / ".cache" / "meshproof"
    assert paths.state_dir() == tmp_path / ".local" / "state" / "meshproof"


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container's user is nothing but a number, and nobody sets HOME."""
    for name in ("XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(EnvironmentProblem, match="has no home") as caught:
        paths.state_dir()
    assert "HOME" in caught.value.fix
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert paths.state_dir() == Path("/state/meshproof")


# What is pinned


@pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)
def test_every_part_is_pinned(part: Part) -> None:
    assert part.version.startswith("v")
    assert part.go >= (1, 20)
    sums = (part.source / "go.sum").read_text()
    assert f"{part.module} {part.version} h1:" in sums
    for name, package in part.packages.items():
        assert package.startswith(part.module) or (part.source / package).is_dir(), name


def test_kubernetes_is_built_from_its_published_staging_modules() -> None:
    text = PARTS["kubernetes"].requirements
    minor = PARTS["kubernetes"].version.removeprefix("v1.")
    replaced = [line.split() for line in text.splitlines() if line.startswith("replace k8s.io/")]
    assert len(replaced) > 25
    for _, old, _, new, version in replaced:
        assert old == new
        assert version == f"v0.{minor}"


def test_every_program_has_one_part() -> None:
    names = [name for part in PARTS.values() for name in part.packages]
    assert len(names) == len(set(names))
    assert part_of("etcd").name == "etcd"
    with pytest.raises(LookupError):
        part_of("emacs")


@pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)
def test_downloads_are_official_and_have_published_sums(part: Part) -> None:
    for name, release in part.downloads.items():
        for text in (release.url, release.sums):
            filled = part.filled(text)
            assert filled.startswith(("https://dl.k8s.io/", "https://github.com/", "https://kind.sigs.k8s.io/"))
            assert "{" not in filled
            assert part.release.removeprefix("v") in filled
        assert release.members is None or name in release.members


@pytest.mark.parametrize(
    ("module", "release"), [("v0.314.0", "v3.14.0"), ("v0.305.2", "v3.5.2"), ("v0.300.1", "v3.0.1")]
)
def test_prometheus_is_released_under_another_number_than_its_module(module: str, release: str) -> None:
    part = replace(PARTS["prometheus"])
    vars(part)["version"] = module
    assert (part.release, part.filled("{plain}")) == (release, release[1:])
    assert PARTS["etcd"].release == PARTS["etcd"].version


def test_the_key_changes_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(name: str, text: str) -> str:
        (tmp_path / "src" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name / "go.mod").write_text(text)
        monkeypatch.setattr("fixtures.cluster.parts.SOURCES", tmp_path / "src")
        return Part(name=name, title="", module="m", packages={}).key

    assert key("one", "a") == key("two", "a")
    assert key("one", "b") != key("two", "a")


# Official files

SUM = hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    "text", [SUM, f"{SUM}\n", f"{SUM}  tool\n", f"{SUM} *./tool", f"{'0' * 64}  other\n{SUM}  tool\n", SUM.upper()]
)
def test_published_sums_are_read(text: str) -> None:
    assert published_sum(text, "tool") == SUM


@pytest.mark.parametrize("text", ["", "<html>404</html>", f"{SUM}  other", f"{SUM[:-1]}  tool", f"{SUM} tool extra"])
def test_what_is_no_sum_is_none(text: str) -> None:
    assert published_sum(text, "tool") is None


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_sum_is_always_64_digits(text: str) -> None:
    found = published_sum(text, "tool")
    assert found is None or len(found) == 64


def web(files: dict[str, bytes]) -> Callable[..., io.BytesIO]:
    class Answer(io.BytesIO):
        headers: dict[str, str] = {}  # noqa: RUF012 - stands in for a message object

    def opened(url: str) -> io.BytesIO:
        if url not in files:
            raise HTTPError(url, 404, "Not Found", Message(), None)
        return Answer(files[url])

    return opened


def small_part(members: dict[str, str] | None = None) -> Part:
    release = Download("https://h/{version}/tool", "https://h/{version}/sums", members)
    return Part(name="etcd", title="Tool", module="go.etcd.io/etcd/server/v3", packages={"tool": "m"},
                downloads={"tool": release})  # fmt: skip


def quiet(_: str) -> None:
    pass


def test_a_good_download_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = small_part()
    site = f"https://h/{part.version}"
    monkeypatch.setattr(downloads, "_open", web({f"{site}/tool": b"content", f"{site}/sums": SUM.encode()}))
    assert downloads.download(part, ["tool"], tmp_path, quiet) == {"tool"}
    assert (tmp_path / "tool").read_bytes() == b"content"
    assert os.access(tmp_path / "tool", os.X_OK)


@pytest.mark.parametrize("content", [b"", b"<html>not here</html>"])
def test_a_download_with_other_contents_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    part = small_part()
    site = f"https://h/{part.version}"
    monkeypatch.setattr(downloads, "_open", web({f"{site}/tool": content, f"{site}/sums": SUM.encode()}))
    assert downloads.download(part, ["tool"], tmp_path, quiet) == set()
    assert not (tmp_path / "tool").exists()


def test_a_host_that_does_not_answer_is_asked_once_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def opened(url: str) -> io.BytesIO:
        asked.append(url)
        raise URLError("no route")

    monkeypatch.setattr(downloads, "_open", opened)
    for _ in range(3):
        assert downloads.download(small_part(), ["tool"], tmp_path, quiet) == set()
    assert len(asked) == 1
    assert capsys.readouterr().err.splitlines() == ["   tool cannot be had from h (no route); building Tool"]


def test_a_file_that_is_not_there_says_nothing_of_the_others_of_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = small_part()
    site = f"https://h/{part.version}"
    monkeypatch.setattr(downloads, "_open", web({}))
    assert downloads.download(part, ["tool"], tmp_path, quiet) == set()
    assert "(HTTP status 404)" in capsys.readouterr().err
    monkeypatch.setattr(downloads, "_open", web({f"{site}/tool": b"content", f"{site}/sums": SUM.encode()}))
    assert downloads.download(part, ["tool"], tmp_path, quiet) == {"tool"}


def test_a_slow_answer_is_waited_for_longer_than_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    class Socket:
        def settimeout(self, seconds: float) -> None:
            seen.append(seconds)

    def connect(self: Any) -> None:
        seen.append(self.timeout)
        self.sock = Socket()

    monkeypatch.setattr("http.client.HTTPSConnection.connect", connect)
    downloads._Connection("h", timeout=1).connect()
    assert seen == [downloads.CONNECT_SECONDS, downloads.READ_SECONDS]


def test_a_program_is_taken_out_of_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("./dir/tool")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"tool"))
    part = small_part({"tool": "dir/tool"})
    site = f"https://h/{part.version}"
    files = {f"{site}/tool": buffer.getvalue(), f"{site}/sums": hashlib.sha256(buffer.getvalue()).hexdigest().encode()}
    monkeypatch.setattr(downloads, "_open", web(files))
    assert downloads.download(part, ["tool"], tmp_path, quiet) == {"tool"}
    assert (tmp_path / "tool").read_bytes() == b"tool"


# The cache


def fake_build(calls: list[list[str]]) -> Callable[..., None]:
    def build(part: Part, names: list[str], target: Path, progress: Callable[[str], None]) -> None:
        calls.append(list(names))
        progress("package 1 of 2")
        for name in names:
            (target / name).write_text(part.version)
            (target / name).chmod(0o755)

    return build


def test_a_part_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    said: list[str] = []
    monkeypatch.setattr(programs, "download", lambda *_: set())
    monkeypatch.setattr(programs, "build", fake_build(calls))
    for _ in range(2):
        programs.ensure(["etcd"], said.append)
    assert calls == [["etcd"]]
    assert said == ["etcd: package 1 of 2"]
    assert programs.missing(["etcd", "cni"]) == ["cni"]
    assert programs.program("etcd").read_text() == programs.version("etcd")


def test_only_what_could_not_be_downloaded_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(programs, "download", lambda *_: set(PARTS["kubernetes"].downloads))
    monkeypatch.setattr(programs, "build", fake_build(calls))
    programs.ensure(["kubernetes"], quiet)
    assert calls == [["pause", "kindnetd", "crictl", "balancer"]]


def test_a_failed_build_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(part: Part, names: list[str], target: Path, progress: object) -> None:
        (target / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "download", lambda *_: set())
    monkeypatch.setattr(programs, "build", fail)
    with pytest.raises(KeyboardInterrupt):
        programs.ensure(["etcd"], quiet)
    assert [path.name for path in (paths.cache_dir() / "programs").iterdir()] == [".etcd.lock"]


def test_what_a_killed_build_left_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    left = paths.cache_dir() / "programs" / ".etcd-abcdef"
    left.mkdir()
    monkeypatch.setattr(programs, "download", lambda *_: set())
    monkeypatch.setattr(programs, "build", fake_build([]))
    programs.ensure(["etcd"], quiet)
    assert not left.exists()


def test_a_full_disk_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="building Kubernetes needs 9999999999 MB of disk"):
        building.require_space(tmp_path / "not" / "there", 9_999_999_999, "building Kubernetes")
    building.require_space(tmp_path, 1, "anything")


def test_what_was_downloaded_takes_no_room_to_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    part, asked = PARTS["kubernetes"], []

    def require(_: Path, megabytes: int, what: str) -> None:
        asked.append(megabytes)
        raise EnvironmentProblem(what)

    monkeypatch.setattr(building, "find_go", lambda _: Path("go"))
    monkeypatch.setattr(building, "_output", lambda *_: '{"GOCACHE": "/c", "GOMODCACHE": "/c"}')
    monkeypatch.setattr(building, "require_space", require)
    for names in (set(part.packages) - set(part.downloads), part.packages):
        with pytest.raises(EnvironmentProblem):
            building.build(part, names, tmp_path, quiet)
    assert asked == [2000, 7000]


def test_a_disk_that_fills_up_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs, "download", lambda *_: set())
    monkeypatch.setattr(programs, "build", full)
    with pytest.raises(EnvironmentProblem, match=r"cannot keep etcd .* No space left"):
        programs.ensure(["etcd"], quiet)


# Go


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("go version go1.26.8 linux/amd64", (1, 26, 8)), ("go version go1.27 linux/arm64", (1, 27, 0)), ("go?", (0,))],
)
def test_versions_of_go_are_read(text: str, wanted: tuple[int, ...]) -> None:
    assert golang.version_in(text) == wanted


def test_a_go_that_is_too_old_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go version go1.2.3 linux/amd64\n")
    old.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda _: str(old))
    monkeypatch.setattr(golang, "_works", lambda go, needed: go == old and needed <= (1, 2, 3))
    assert golang.find_go((1, 2)) == old
    monkeypatch.setattr(golang, "_install", lambda home: home.mkdir(parents=True))
    with pytest.raises(EnvironmentProblem, match=r"there is no Go 1\.26\.0 or later"):
        golang.find_go((1, 26, 0))


def test_the_build_is_told_what_it_may_do() -> None:
    environment = golang.go_environment(Path("/go/bin/go"))
    assert environment["CGO_ENABLED"] == "0"
    assert environment["GOTOOLCHAIN"] == "local"
    assert "-mod=readonly" in environment["GOFLAGS"]


@pytest.mark.skipif(shutil.which("go") is None, reason="asks the machine's own Go")
def test_a_part_is_built_with_progress_and_its_failure_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "src" / "tiny"
    (source / "hello").mkdir(parents=True)
    (source / "go.mod").write_text("module tiny.local/tiny\n\ngo 1.20\n\n// require m v1.0.0\n")
    main = source / "hello" / "main.go"
    # New text each time: what Go has compiled before, it does not compile again, and then there is no progress.
    text = f'package main\n\nvar version, text = "", "{uuid.uuid4()}"\n\nfunc main() {{ print(version, len(text)) }}\n'
    main.write_text(text)
    monkeypatch.setattr("fixtures.cluster.parts.SOURCES", tmp_path / "src")
    part = Part(name="tiny", title="Tiny", module="tiny.local/tiny", packages={"hello": "./hello"}, megabytes=1,
                variables={"main.version": "one"})  # fmt: skip
    object.__setattr__(part, "version", "v1.0.0")
    target = tmp_path / "out"
    target.mkdir()
    said: list[str] = []
    building.build(part, ["hello"], target, said.append)
    assert subprocess.run([target / "hello"], capture_output=True, text=True, check=True).stderr == "one36"
    assert said[0] == "resolving modules"
    assert any(text.startswith("package ") and " of " in text for text in said)
    main.write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(EnvironmentProblem, match=r"building Tiny v1\.0\.0 fails"):
        building.build(part, ["hello"], target, quiet)


def test_the_checksum_of_a_module_is_that_of_go_sum(tmp_path: Path) -> None:
    archive = tmp_path / "m.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("m@v1/b", "b")
        content.writestr("m@v1/a", "a")
    first = building.module_sum(archive)
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("m@v1/a", "a")
        content.writestr("m@v1/b", "b")
    assert building.module_sum(archive) == first
    assert first.startswith("h1:")
    assert len(first) == 47


# Locks


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "lock"
    with exclusive(lock), try_exclusive(lock) as held:
        assert not held
    with try_exclusive(lock) as held:
        assert held


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from fixtures.cluster.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES.parents[2])},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with try_exclusive(lock) as held:
            assert not held
        process.kill()
    with try_exclusive(lock) as held:
        assert held
