"""What a shell offers while somebody types, and that every command that has a result can write it for a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from refmesh.ca.signing import Keyring
from refmesh.cli import app
from refmesh.errors import UsageProblem
from refmesh.install import installer
from refmesh.install.options import PROFILES
from refmesh.install.proxies import PARTS
from refmesh.kubeclient import Kube
from tests.unit.refmesh_injector.pods import pod

FORMS = {"table", "json", "yaml"}
WITHOUT_RESULT = {"dashboard", "bug-report"}
"""A page that is shown until somebody ends it, and an archive."""


def offered(*words: str) -> set[str]:
    """What bash is offered after these words."""
    line = ["refmesh", *words]
    env = {"_REFMESH_COMPLETE": "complete_bash", "COMP_WORDS": f"{' '.join(line)} ", "COMP_CWORD": str(len(line))}
    return set(CliRunner().invoke(app, [], prog_name="refmesh", env=env).stdout.split())


def verbs(group: Any, *before: str) -> list[tuple[str, ...]]:
    found = list[tuple[str, ...]]()
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found += verbs(command, *before, name) if inner else [(*before, name)]
    return found


def test_every_verb_completes_its_forms_of_output() -> None:
    every = verbs(typer.main.get_command(app))
    assert set(every) >= {("install",), ("ca", "rotate"), ("authz", "check")}
    assert {words[0] for words in every} == offered()
    for words in every:
        forms = {"yaml", "json"} if words == ("inject",) else FORMS
        assert WITHOUT_RESULT & {*words} or offered(*words, "-o") == forms, words


def test_what_is_chosen_from_a_few_is_completed() -> None:
    assert offered("proxy-config") == set(PARTS)
    assert offered("install", "--profile") == set(PROFILES)
    assert offered("ca", "rotate") == {"root", "issuer"}
    assert offered("inject", "--sidecar") == {"native", "classic"}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_form_is_no_archive_of_a_bug_report(form: str) -> None:
    done = CliRunner().invoke(app, ["bug-report", "-o", form])
    assert isinstance(done.exception, UsageProblem)
    assert f"and {form} is the form of a result elsewhere" in str(done.exception)
    both = CliRunner().invoke(app, ["bug-report", "-o", "a", "-f", "b"])
    assert "not both" in str(both.exception)


@pytest.mark.parametrize("flag", ["-o", "--output", "-f", "--file"])
def test_a_bug_report_goes_where_it_is_told(tmp_path: Path, flag: str) -> None:
    done = CliRunner().invoke(app, ["bug-report", flag, str(tmp_path / "none" / "a.tar.gz")])
    assert f"{tmp_path}/none/a.tar.gz is no file that can be written" in str(done.exception)


def test_uninstall_says_for_a_program_what_is_gone_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def uninstalled(_: Any, report: Any, note: Any, *, purge: bool) -> None:
        assert purge
        report("control plane")
        note("1 pods still have their proxy")

    async def nothing(_: Any) -> None:
        return None

    class Nobody:
        close = nothing

    monkeypatch.setattr(installer, "uninstall", uninstalled)
    monkeypatch.setattr(installer, "reachable", nothing)
    monkeypatch.setattr(Kube, "from_kubeconfig", lambda *_: Nobody())
    done = CliRunner().invoke(app, ["uninstall", "--purge", "-y", "-o", "json"])
    told = {"uninstalled": True, "removed": ["control plane"], "left": ["1 pods still have their proxy"]}
    assert json.loads(done.stdout) == [told]
    plain = CliRunner().invoke(app, ["uninstall", "--purge", "-y"])
    assert plain.stdout == ""
    assert "control plane" in plain.stderr


def test_inject_writes_json_as_well(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(Keyring.create().root_pem)
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump({"kind": "Pod", **pod()}))
    given = ["inject", "-f", str(tmp_path / "pod.yaml"), "--root-cert", str(tmp_path / "root.pem"), "--image", "mesh:1"]
    as_yaml = list(yaml.safe_load_all(CliRunner().invoke(app, given).stdout))
    as_json = json.loads(CliRunner().invoke(app, [*given, "-o", "json"]).stdout)
    assert as_json == {"apiVersion": "v1", "kind": "List", "items": as_yaml}
