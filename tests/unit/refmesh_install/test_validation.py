"""`refmesh validate` reads files as people write them and says what the webhook says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from refmesh.api.authorization_policy import AuthorizationPolicy
from refmesh.cli import app
from refmesh.errors import UsageProblem
from refmesh.install.authz import row_of
from refmesh.install.validation import validate

HEAD = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n"
GOOD = HEAD + "spec: {action: DENY, rules: [{}]}\n"
BAD = HEAD + "spec: {action: FORBID}\n"
OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


def test_files_and_folders_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text(f"{GOOD}---\n{BAD}---\n")
    (tmp_path / "b.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}, 1]}))
    (tmp_path / "c.txt").write_text("not read")
    found = validate([str(tmp_path)])
    assert [(item.kind, item.name, item.known) for item in found] == [
        ("Pod", "?", False),
        ("?", "?", True),
        ("AuthorizationPolicy", "shop/p", True),
        ("AuthorizationPolicy", "shop/p", True),
    ]
    assert [item.problem for item in found] == [
        "",
        "is no Kubernetes object: it has no kind",
        "",
        "spec.action: must be one of ALLOW, DENY, AUDIT, not 'FORBID'",
    ]


@pytest.mark.parametrize("text", ["a: [", "\x00", "a: &x *y"])
def test_what_is_no_yaml_is_a_usage_problem(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem, match="is not valid YAML"):
        validate([str(file)])


def test_a_missing_file_and_an_empty_folder_are_usage_problems(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="cannot be read"):
        validate([str(tmp_path / "none.yaml")])
    with pytest.raises(UsageProblem, match="has no files"):
        validate([str(tmp_path)])


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (BAD, 1), (GOOD + "---\n" + BAD, 1), (OTHER, 0)])
def test_the_command_names_what_is_wrong_and_fails_if_anything_is(tmp_path: Path, text: str, code: int) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    done = CliRunner().invoke(app, ["validate", "-f", str(file)])
    assert done.exit_code == code
    assert ("x.yaml: AuthorizationPolicy shop/p: spec.action: must be one of" in done.stdout) is bool(code)


def test_a_policy_that_is_closed_says_why() -> None:
    obj = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"action": "FORBID"}}
    row = row_of(AuthorizationPolicy.closed(obj, "spec.action: is wrong", "cluster.local"))
    assert row == {
        "ACTION": "DENY",
        "AuthorizationPolicy": "p.shop",
        "RULES": 0,
        "PROBLEM": "cannot be read, so it is closed: spec.action: is wrong",
    }


def test_a_note_says_what_does_nothing_beside_the_other_objects_of_the_files(tmp_path: Path) -> None:
    entry = {"hosts": ["a.example.com"], "ports": [{"number": 80}], "resolution": "NONE"}
    rule = {"host": "a.example.com", "trafficPolicy": {"outlierDetection": {}}}
    for kind, spec in (("ServiceEntry", entry), ("DestinationRule", rule)):
        obj = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
        (tmp_path / f"{kind}.json").write_text(json.dumps(obj))
    done = CliRunner().invoke(app, ["validate", "-f", str(tmp_path)])
    assert done.exit_code == 0
    assert "DestinationRule x: note: spec.trafficPolicy.outlierDetection has no effect at a.example.com" in done.stdout


def test_a_note_says_what_does_nothing_at_a_headless_service_of_the_files(tmp_path: Path) -> None:
    rule = {"host": "db", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}, "subsets": [{"name": "v1"}]}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": {"clusterIP": "None"}},
        {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "x"}, "spec": rule},
        {"apiVersion": "v1", "kind": "Service", "metadata": "odd", "spec": {"clusterIP": "None"}},
    ]
    (tmp_path / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    _, found, _ = validate([str(tmp_path)])
    assert [note.partition(":")[0] for note in found.notes] == [
        "spec.trafficPolicy.loadBalancer has no effect at db.default.svc.cluster.local",
        "spec.subsets[0] has no effect at db.default.svc.cluster.local",
    ]
