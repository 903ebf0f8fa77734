"""What a run will do, decided from options and catalogues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproof_cli.execute import finished, options_of
from meshproof_cli.ground import program_parts
from meshproof_cli.plan import Known, Options, Plan, make_plan, select
from reports.choice import choose
from reports.errors import EnvironmentProblem, UsageProblem
from reports.model import Result, Verdict

KNOWN = Known(
    checks={"INJ-01": "INJ", "WT-01": "WT", "WT-02": "WT", "CB-01": "CB"},
    experiments=("C1", "A1"),
    measurements=("LAT01",),
    titles={
        "INJ-01": "in",
        "WT-01": "two",
        "WT-02": "zero",
        "CB-01": "cut",
        "C1": "gone",
        "A1": "sham",
        "LAT01": "lat",
    },
    disruptive=frozenset({"CB-01", "C1"}),
    blank={"CB-01": Result("CB-01", "cut", "check", "CB", "extended", Verdict.NOT_RUN, "", ("ejection",))},
)
MESHES = ("refmesh", "other", "none")
EVERY = (*KNOWN.checks, "C1", "A1", "LAT01")


def plan(**options: object) -> Plan:
    return make_plan(replace(Options(), **options), KNOWN, MESHES, "embedded", 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("only", "skip", "left"),
    [
        ((), (), EVERY),
        (("WT",), (), ("WT-01", "WT-02")),
        (("wt-01", "c1"), (), ("WT-01", "C1")),
        (("chaos",), ("A1",), ("C1",)),
        (("latency", "INJ"), (), ("INJ-01", "LAT01")),
        ((), ("conformance", "latency"), ("C1", "A1")),
    ],
)
def test_selection(only: tuple[str, ...], skip: tuple[str, ...], left: tuple[str, ...]) -> None:
    assert select(KNOWN, only, skip).ids == left


@pytest.mark.parametrize(
    ("profile", "only", "left"),
    [
        ("", (), ("INJ-01", "WT-01", "C1", "A1", "LAT01")),
        ("", ("conformance",), ("INJ-01", "WT-01")),
        ("", ("WT-02",), ("WT-02",)),
        ("full", (), EVERY),
        ("Full", ("WT",), ("WT-01", "WT-02")),
        ("short", ("WT", "C1"), ("WT-01", "C1")),
    ],
)
def test_a_profile_is_the_part_of_the_catalogue_that_is_judged(
    profile: str, only: tuple[str, ...], left: tuple[str, ...]
) -> None:
    known = replace(
        KNOWN, profiles={"short": ("INJ-01", "WT-01"), "full": tuple(KNOWN.checks)}, default_profile="short"
    )
    assert select(known, only, (), profile).ids == left
    with pytest.raises(UsageProblem, match="leave nothing of the profile short to judge"):
        select(known, ("CB",), (), "short")
    with pytest.raises(UsageProblem, match="no profile called 'fulll'"):
        select(known, only, (), "fulll")


def test_what_failed_before_is_judged_again_whatever_its_profile() -> None:
    known = replace(KNOWN, profiles={"short": ("WT-01",)}, default_profile="short")
    assert select(known, (), (), again=("WT-02", "C1", "GONE-1")).ids == ("WT-02", "C1")
    assert select(known, ("WT",), (), again=("WT-02", "C1")).ids == ("WT-02",)
    with pytest.raises(UsageProblem, match="the flags and the earlier run leave nothing"):
        select(known, ("WT-01",), (), again=("WT-02",))


@given(st.lists(st.sampled_from(EVERY), min_size=1), st.lists(st.sampled_from(EVERY)))
def test_selection_is_only_less_skip(only: list[str], skip: list[str]) -> None:
    expected = set(only) - set(skip)
    if expected:
        assert set(select(KNOWN, only, skip).ids) == expected
    else:
        with pytest.raises(UsageProblem, match="nothing"):
            select(KNOWN, only, skip)


def test_unknown_words_suggest_close_ones() -> None:
    with pytest.raises(UsageProblem) as caught:
        select(KNOWN, ("WT-03",), ())
    assert "WT-03" in caught.value.problem
    assert "did you mean WT or WT-01" in caught.value.fix
    with pytest.raises(UsageProblem) as caught:
        choose("refmseh", MESHES, "mesh")
    assert "did you mean refmesh?" in caught.value.fix


def test_the_default_is_the_whole_job() -> None:
    whole = plan()
    assert (whole.provider, whole.create, whole.build_image, whole.installs_mesh) == ("embedded", True, True, True)
    assert whole.selection.ids == EVERY
    assert [stage for stage, _ in whole.lines()] == [
        "preflight", "cluster", "image", "mesh", "conformance", "chaos", "latency", "report", "clean-up",
    ]  # fmt: skip


def test_only_narrows_the_other_stages() -> None:
    lines = dict(plan(only=("WT-01",)).lines())
    assert lines["conformance"] == "1 check: WT-01, 1 at a time"
    assert lines["chaos"] == lines["latency"] == "nothing"
    lines = dict(plan(only=("C1",)).lines())
    assert lines["conformance"] == "nothing"


def test_the_negative_control_breaks_and_measures_nothing() -> None:
    control = plan(mesh="none")
    assert control.selection.experiments == control.selection.measurements == ()
    assert not control.installs_mesh
    assert plan(mesh="none", only=("C1",)).selection.experiments == ("C1",)


def test_a_kubeconfig_means_an_existing_cluster() -> None:
    there = plan(kubeconfig=Path("x"), mesh="other")
    assert (there.provider, there.create) == ("existing", False)
    assert dict(there.lines())["mesh"] == "expect other to be installed"
    assert dict(there.lines())["image"].endswith("which takes a cluster that meshproof or kind made here")
    assert dict(plan().lines())["image"] == "build or take from the cache, and load"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"context": "c", "mesh": "other", "image": "i"}, []),
        ({"context": "c", "image": "i", "install": False}, []),
        ({"context": "c", "image": "i"}, ["gateway-api"]),
        ({"context": "c", "mesh": "other"}, ["toxiproxy"]),
        ({"cluster": "kind", "image": "i"}, ["kind", "gateway-api"]),
        ({"cluster": "kind"}, ["kind", "toxiproxy", "gateway-api"]),
    ],
)
def test_only_programs_that_the_run_uses_are_fetched(options: dict[str, object], parts: list[str]) -> None:
    assert program_parts(plan(**options)) == parts


def test_a_mesh_that_was_there_is_disturbed_on_demand_only() -> None:
    there = plan(kubeconfig=Path("x"))
    assert there.selection.ids == ("INJ-01", "WT-01", "WT-02", "A1", "LAT01")
    assert dict(there.lines())["left out"].startswith("CB-01, C1: it disturbs the mesh as a whole")
    assert not there.disruptive
    assert plan(kubeconfig=Path("x"), disruptive=True).selection.ids == EVERY
    own = plan()
    assert (own.selection.ids, own.disruptive) == (EVERY, True)
    assert plan(kubeconfig=Path("x"), mesh="none", only=("CB-01",)).selection.ids == ("CB-01",)


def test_what_takes_the_mesh_away_is_judged_alone_and_with_the_command_for_that_only() -> None:
    known = replace(KNOWN, last=frozenset({"CB-01"}))
    with_command = replace(known, farewell=True)
    alone, beside = Options(only=("CB-01",)), Options(only=("CB-01", "WT-01"))
    assert make_plan(alone, with_command, MESHES, "embedded", 2).selection.ids == ("CB-01",)
    for options, catalogue in ((beside, with_command), (beside, known)):
        made = make_plan(options, catalogue, MESHES, "embedded", 2)
        assert made.selection.ids == ("WT-01",)
        assert "--set uninstall=COMMAND" in dict(made.lines())["left out"]
    with pytest.raises(UsageProblem, match="takes the mesh off the cluster"):
        make_plan(alone, known, MESHES, "embedded", 2)


def test_a_new_cluster_can_be_given_another_mesh() -> None:
    known = replace(KNOWN, installable=frozenset({"other"}))
    there = make_plan(Options(mesh="other"), known, MESHES, "embedded", 2)
    assert (there.create, there.installs_mesh) == (True, False)
    assert dict(there.lines())["mesh"] == "build or take from the cache, and install other"
    given = make_plan(Options(mesh="other", kubeconfig=Path("x")), known, MESHES, "embedded", 2)
    assert dict(given.lines())["mesh"] == "expect other to be installed"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kubeconfig": Path("x"), "only": ("C1",)}, "C1, and it disturbs the mesh"),
        ({"mesh": "istoi"}, "istoi"),
        ({"cluster": "minikube"}, "minikube"),
        ({"cluster": "kind", "kubeconfig": Path("x")}, "--cluster is kind"),
        ({"mesh": "other"}, "no mesh"),
        ({"mesh": "none", "defect": "d"}, "--defect"),
        ({"context": "c", "keep_cluster": True}, "--keep-cluster"),
        ({"workers": 0}, "--workers"),
        ({"mesh": "none", "skip": ("conformance",)}, "nothing to judge"),
    ],
)
def test_contradictions_are_one_sentence(options: dict[str, object], named: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        plan(**options)
    assert named in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.fix


def test_what_was_not_reached_is_not_run() -> None:
    found = [Result("WT-01", "two", "check", "WT", "core", Verdict.PASS, "")]
    results = finished(plan(only=("WT", "C1")), KNOWN, found, EnvironmentProblem("the cluster died"))
    assert [(one.id, one.kind, one.verdict.value) for one in results] == [
        ("WT-01", "check", "pass"),
        ("WT-02", "check", "not-run"),
        ("C1", "experiment", "not-run"),
    ]
    assert results[1].reason == "the run ended before: the cluster died"
    assert results[1].title == "zero"


def test_what_is_left_out_of_an_existing_cluster_is_in_the_report_with_its_reason() -> None:
    there = plan(context="c", only=("CB", "C1", "WT-01"), rerun_failed=Path("earlier"))
    found = [Result("WT-01", "two", "check", "WT", "core", Verdict.PASS, "")]
    results = finished(there, KNOWN, found, None)
    assert [(one.id, one.kind, one.group, one.verdict.value) for one in results] == [
        ("WT-01", "check", "WT", "pass"),
        ("CB-01", "check", "CB", "not-run"),
        ("C1", "experiment", "chaos", "not-run"),
    ]
    assert [one.left_out for one in results] == [False, True, True]
    assert (results[1].level, results[1].proves) == ("extended", ("ejection",))
    assert "--disruptive allows that" in results[1].reason
    assert "--disruptive" in results[1].reproduce
    options = options_of(there)
    assert (options["spared"], options["rerun_failed"]) == (["CB-01", "C1"], "earlier")
    assert options_of(plan(context="c", disruptive=True))["disruptive"] is True


@pytest.mark.parametrize(
    ("asked", "profile"),
    [
        ({}, "small"),
        ({"skip": ("WT",)}, "small"),
        ({"only": ("Conformance", "latency")}, "small"),
        ({"profile": "Full"}, "full"),
        ({"profile": "full", "only": ("WT",)}, "full"),
        ({"only": ("WT",)}, None),
        ({"only": ("latency",)}, None),
        ({"rerun_failed": Path("earlier"), "again": ("WT-02",)}, None),
    ],
)
def test_the_report_names_the_profile_that_was_in_force(asked: dict[str, Any], profile: str | None) -> None:
    known = replace(
        KNOWN, profiles={"small": ("INJ-01", "WT-01"), "full": tuple(KNOWN.checks)}, default_profile="small"
    )
    made = make_plan(replace(Options(), **asked), known, MESHES, "embedded", 2)
    assert options_of(made).get("profile") == profile


def test_every_result_says_how_to_ask_again() -> None:
    found = [Result("WT-01", "two", "check", "WT", "core", Verdict.PASS, "", reproduce="pytest --kubeconfig gone")]
    made = finished(plan(only=("WT-01",), defect="x"), KNOWN, found, None)
    assert made[0].reproduce == (
        "meshproof run --mesh refmesh --cluster embedded --defect x --report-dir meshproof-report-WT-01 --only WT-01"
    )
    there = finished(plan(only=("WT-01",), context="c"), KNOWN, found, None)
    assert there[0].reproduce == "pytest --kubeconfig gone"
