"""Adapters of others: every slip in one is one sentence that names it."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from typer.testing import CliRunner

from conformance import adapters
from conformance.adapters import Rendered, Unsupported, load
from conformance.adapters.checked import Checked
from conformance.adapters.declared import Declared, Place
from conformance.adapters.none import NoMesh
from conformance.catalogue import select
from conformance.intents import Inject, NoInject, Scope
from conformance.preview import planned
from conformance.selection import Selection
from meshproof_cli.listing import app
from reports.errors import UsageProblem

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}}


def mesh(**fields) -> Checked:
    settled = {"name": "mine", "title": "Mine", "deployment": Place("ns", "plane"), "words": {}, **fields}
    return Checked(Declared(**settled), "mine")


def rendered(**fields: Any) -> Rendered:
    """What the types would refuse."""
    return Rendered(**fields)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "return None, which is neither"),
        ({"a": "b"}, "return {'a': 'b'}, which is neither"),
        (rendered(labels={1: True}), "return labels that are not text: 1: True"),
        (rendered(annotations="x"), "return annotations that are no mapping: 'x'"),
        (rendered(objects=["x"]), "return one of objects that is no mapping: 'x'"),
        (rendered(objects=POD), "return objects that are no tuple"),
        (rendered(objects=(POD | {"kind": None},)), "return one of objects without kind"),
        (rendered(merges=(POD | {"metadata": {}},)), "return one of merges without metadata.name"),
    ],
)
def test_what_is_no_rendering_is_one_sentence(returned, said):
    with pytest.raises(UsageProblem) as raised:
        mesh(words={Inject: lambda _: returned}).render(Inject(Scope.POD))
    assert f"the adapter mine: its words for Inject {said}" in raised.value.problem


def raising(_: Inject) -> Rendered:
    raise KeyError("x")


def test_words_that_raise_are_one_sentence_with_the_place():
    with pytest.raises(UsageProblem, match=r"words for Inject fail: KeyError: 'x' \(test_checked.py:\d+\)"):
        mesh(words={Inject: raising}).render(Inject(Scope.POD))


@pytest.mark.parametrize("returned", [Unsupported("it is so"), Rendered(), Rendered(objects=(POD,), labels={"a": "b"})])
def test_what_is_one_stays_as_it_is(returned):
    assert mesh(words={Inject: lambda _: returned}).render(Inject(Scope.POD)) is returned


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"words": {Inject: "x"}}, "its words for Inject are 'x'"),
        ({"cannot": {Inject: None}}, "why it cannot Inject is None"),
        ({"deployment": "my-mesh"}, "its control plane is 'my-mesh'"),
        ({"name": "none"}, "says that its name is 'none'"),
    ],
)
def test_nonsense_in_the_tables_is_found_at_once(fields, said):
    with pytest.raises(UsageProblem, match=said):
        mesh(**fields)


def test_its_own_tables_stay_in_reach():
    assert mesh(words={Inject: lambda _: Rendered()}).words.keys() == {Inject}


def test_a_dry_run_says_it_in_a_sentence_as_well():
    judged = Selection(select("INJ-01"))
    broken = mesh(words={NoInject: lambda _: None, Inject: lambda _: Rendered(labels={"in": "yes"})})
    with pytest.raises(pytest.UsageError, match="its words for NoInject return None"):
        list(planned(judged, broken))


class Zero(NoMesh):
    name = "zero"

    def __init__(self) -> None:
        self.share = 1 // 0


class Good(NoMesh):
    name, title = "good", "Good"


def leave():
    sys.exit(3)


def test_a_broken_adapter_is_one_sentence_and_takes_no_others_line(monkeypatch):
    offered = [
        EntryPoint(name, value, adapters.GROUP)
        for name, value in {
            "good": f"{__name__}:Good",
            "zero": f"{__name__}:Zero",
            "ends": f"{__name__}:leave",
            "none-of-these": "conformance.adapters.none:NoMesh",
        }.items()
    ]
    monkeypatch.setattr(adapters, "entry_points", lambda **_: offered)
    with pytest.raises(UsageProblem, match=r"cannot be loaded: ZeroDivisionError: .* \(test_checked.py:\d+\)"):
        load("zero")
    with pytest.raises(UsageProblem, match="cannot be loaded: SystemExit: 3"):
        load("ends")
    with pytest.raises(UsageProblem, match="'none-of-these' says that its name is 'none'"):
        load("none-of-these")
    done = CliRunner().invoke(app, ["meshes", "-o", "json"])
    titles = {one["name"]: one["title"] for one in json.loads(done.output)}
    assert titles["good"] == "Good"
    assert "cannot be loaded" in titles["zero"]
    assert "cannot be loaded" in titles["ends"]
    assert titles["refmesh"] == load("refmesh").title
