"""The Dockerfile cannot be built in a unit test, but what it names can be compared with the plan of the other build."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from fixtures.cluster.parts import PARTS
from fixtures.images import base
from fixtures.images.dependencies import add_programs
from fixtures.images.layout import ENVIRONMENT, PACKAGES, PREFIX, PROXY_UID, USER_UID
from fixtures.images.plan import Plan
from fixtures.images.product import _ON_THE_RUNNER, IN_PODS, product_version

ROOT = Path(__file__).resolve().parents[3]

DEBIAN = {"iptables": base._IPTABLES, "iproute2": ("ip", "ss"), "procps": ("ps",)}
"""Which Debian package has the programs that the slim Python image lacks."""


@pytest.fixture(scope="module")
def stages() -> list[list[list[str]]]:
    """The instructions of each stage as words."""
    text = (ROOT / "fixtures" / "images" / "Dockerfile").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    lines = [shlex.split(line) for line in text.splitlines() if line.strip()]
    starts = [at for at, line in enumerate(lines) if line[0] == "FROM"]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def words(stage: list[list[str]], instruction: str) -> list[str]:
    return [word for line in stage if line[0] == instruction for word in line[1:]]


def test_every_copied_file_is_there_and_docker_gets_to_see_it(stages: list[list[list[str]]]) -> None:
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for stage in stages
        for line in stage
        if line[0] == "COPY" and not line[1].startswith("--")
        for source in line[1:-1]
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert Path(source).parts[0] in shown, source
    assert shown == {Path(source).parts[0] for source in copied}


def test_the_product_is_that_of_the_plan(stages: list[list[list[str]]]) -> None:
    packages = stages[1]
    copied = {line[1] for line in packages if line[0] == "COPY"}
    assert copied - {"requirements.lock", "pyproject.toml"} == set(IN_PODS)
    run = " ".join(words(packages, "RUN"))
    removed = re.search(r"site-packages && rm -rf ((?:(?:fixtures|reports)/[\w.-]+ )+)", run)
    assert removed is not None
    assert set(removed[1].split()) == {str(folder.relative_to(PACKAGES)) for folder in _ON_THE_RUNNER}


def test_what_the_package_never_held_is_no_error_to_remove(stages: list[list[list[str]]], tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    places = [one.relative_to(PACKAGES) for one in _ON_THE_RUNNER]
    left_out = []
    for place in places:
        files = (
            [ROOT / place] if (ROOT / place).is_file() else [one for one in (ROOT / place).rglob("*") if one.is_file()]
        )
        packed = [one for one in files if any(one.match(pattern) for pattern in ["*.py", *patterns])]
        for file in packed:
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
        left_out += [] if packed else [place]
    assert left_out  # else this test proves nothing
    run = " ".join(words(stages[1], "RUN"))
    (command,) = re.findall(r"rm -\w+ fixtures/.*?/image/bin/meshproof", run)
    ended = subprocess.run(command.replace("/image/", f"{tmp_path}/"), shell=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0
    assert not [place for place in places if (tmp_path / place).exists()]


def test_packages_are_installed_by_hash_from_the_lock_file(stages: list[list[list[str]]]) -> None:
    run = " ".join(words(stages[1], "RUN"))
    installs = [command for command in re.split(r"\s(?:&&|\|\|)\s", run) if "pip install" in command]
    assert installs
    for command in installs:
        own = command.rstrip().endswith(" .") or " . " in command
        assert "--no-deps" in command if own else "--require-hashes" in command, command
    assert "-m fixtures.images requirements" in run


def test_the_programs_are_those_of_the_plan(stages: list[list[list[str]]]) -> None:
    installed = set(words(stages[2], "RUN"))
    for package, programs in DEBIAN.items():
        assert package in installed, programs
    assert {name for names in DEBIAN.values() for name in names} >= {*base._NETWORK, *base._IPTABLES}

    plan = Plan()
    add_programs(plan, Path("/anywhere/toxiproxy-server"))
    text = " ".join(" ".join(line) for stage in stages for line in stage)
    for target in plan.entries:
        assert target in text or target.replace(str(PREFIX), "/image", 1) in text, target
    assert ["COPY", "--from=packages", "/image", str(PREFIX)] in stages[2]


def test_toxiproxy_is_built_from_the_pinned_module(stages: list[list[list[str]]]) -> None:
    part = PARTS["toxiproxy"]
    build = " ".join(words(stages[0], "RUN"))
    assert part.packages["toxiproxy-server"] in build.split()
    assert all(f"-X {variable}=" in build for variable in part.variables)
    folder = part.source.relative_to(ROOT).as_posix()
    assert [f"{folder}/go.mod", f"{folder}/go.sum"] == [word for word in words(stages[0], "COPY") if "/go." in word]
    image = re.fullmatch(r"golang:(\d+)\.(\d+)-\w+", stages[0][0][1])
    assert image is not None
    assert (int(image[1]), int(image[2])) >= part.go[:2]


def test_users_and_environment_are_those_of_the_plan(stages: list[list[list[str]]]) -> None:
    run = words(stages[2], "RUN")
    uids = {int(run[at + 1]) for at, word in enumerate(run) if word == "--uid"}
    gids = {int(run[at + 1]) for at, word in enumerate(run) if word == "--gid"}
    assert uids == gids == {PROXY_UID, USER_UID}
    assert dict(word.split("=", 1) for word in words(stages[2], "ENV")) == ENVIRONMENT


def test_both_python_stages_are_one_image_and_the_label_says_the_version(stages: list[list[list[str]]]) -> None:
    assert stages[1][0][1] == stages[2][0][1]
    assert f"org.opencontainers.image.version={product_version()}" in words(stages[2], "LABEL")
    assert "compileall" in words(stages[2], "RUN")
