from __future__ import annotations

from dataclasses import replace

import pytest

from conformance import catalogue
from conformance.adapters import Rendered, Unsupported, load
from conformance.catalogue import check, checks, ground_of, grounds, place, select
from conformance.ground import render_ground
from conformance.intents import LenientPaths
from conformance.model import passed
from conformance.profiles import CAPABILITIES, PROFILES
from reports.errors import UsageProblem
from reports.gateway_api import FEATURES

FIRST_THREAD = [
    *(f"INJ-0{number}" for number in (1, 2, 3, 4, 5)),
    *(f"MTLS-0{number}" for number in (1, 2, 3, 4, 5)),
    *(f"WT-0{number}" for number in (1, 2, 5, 8)),
    *(f"CB-0{number}" for number in (1, 2, 3, 5, 7)),
    "ID-01",
]


def test_the_headline_is_the_first_thread():
    assert sorted(one.id for one in select(profile="headline")) == sorted(FIRST_THREAD)


def test_profiles_are_parts_of_the_catalogue_and_each_check_has_a_level_and_a_capability():
    every = {one.id for one in checks()}
    parts = {part.name: {one.id for one in checks() if part.holds(one)} for part in PROFILES}
    assert parts["full"] == every == parts["core"] | parts["extended"]
    assert not parts["core"] & parts["extended"]
    assert set.union(*(parts[name] for name, _ in CAPABILITIES.values())) == every
    for part in PROFILES:
        assert set(part.ids) <= every


def test_paths_that_rfc_3986_does_not_make_equal_are_no_part_of_the_core_and_have_a_feature_of_their_own():
    core, beyond = catalogue.check_of("AZ-10"), catalogue.check_of("AZ-13")
    assert (core.level, beyond.level) == ("core", "extended")
    assert [one.id for one in checks() if "lenient paths" in one.proves] == ["AZ-13"]
    assert isinstance(load("refmesh").render(LenientPaths("ns", "web")), Rendered)
    assert isinstance(load("istio").render(LenientPaths("ns", "web")), Unsupported)  # its mesh config chooses


def test_each_check_says_where_what_it_demands_is_specified():
    assert [one.id for one in checks() if not one.reference] == []


def test_requirements_exist_are_acyclic_and_can_be_run_where_they_are_needed():
    by_id = {one.id: one for one in checks()}

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        assert name not in above, f"{name} requires itself"
        return 1 + max((depth(other, (*above, name)) for other in by_id[name].requires), default=0)

    for one in checks():
        depth(one.id)
        for required in one.requires:
            assert by_id[required].anywhere or by_id[required].ground == one.ground


def test_every_ground_has_what_a_requirement_of_another_ground_looks_at():
    for ground in grounds():
        for name in (ground.outsider, ground.server):
            assert ground.workload(name).replicas == 1


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ("wt", "", ["WT-01", "WT-02", "WT-05", "WT-08"]),
        ("INJ-01, cb", "CB-05", ["INJ-01", "CB-01", "CB-02", "CB-03", "CB-07"]),
        ("", "INJ,MTLS,WT,CB", ["ID-01"]),
    ],
)
def test_selection_by_id_and_group(only, skip, expected):
    assert sorted(one.id for one in select(only, skip, "Headline")) == sorted(expected)


@pytest.mark.parametrize(("only", "skip"), [("XX", ""), ("", "WT-99")])
def test_a_wrong_id_is_one_sentence(only, skip):
    with pytest.raises(UsageProblem, match="no check or group is called"):
        select(only, skip)


def test_a_wrong_profile_and_an_empty_selection_are_one_sentence():
    with pytest.raises(UsageProblem, match="no profile called 'cor'"):
        select(profile="cor")
    with pytest.raises(UsageProblem, match="nothing of the profile weights is left"):
        select("CB", profile="weights")


def add(**fields):
    settled = {"id": "WT-90", "title": "", "proves": (), "judge": passed, "ground": ground_of("wt"), **fields}
    check(**settled)(lambda _: "")


def test_an_id_or_a_ground_cannot_be_taken_twice():
    with pytest.raises(UsageProblem, match="twice"):
        place(ground_of("wt"))
    with pytest.raises(UsageProblem, match=r"test_catalogue.py: the check WT-01 is there twice, .*weights.py"):
        add(id="WT-01")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "QQ-01"}, "the check QQ-01 is of no group that there is: INJ, "),
        ({"id": "WT"}, "the check WT has no id of a group and a number"),
        ({"id": "WT-one"}, "the check WT-one has no id of a group and a number"),
        ({"ground": "nix"}, "the check WT-90 has 'nix' for a ground"),
        ({"ground": replace(ground_of("wt"), name="new")}, "the check WT-90 has the ground new, which nobody"),
    ],
)
def test_what_is_no_check_is_one_sentence_with_its_file(fields, said):
    with pytest.raises(UsageProblem, match=said) as raised:
        add(**fields)
    assert raised.value.problem.startswith(f"{__file__}: ")
    assert not any(one.id == "WT-90" for one in checks())


def test_a_requirement_that_there_is_not_is_one_sentence(monkeypatch):
    monkeypatch.setattr(catalogue, "_checks", dict(catalogue._filled()))
    add(requires=("XX-01",))
    with pytest.raises(UsageProblem, match=r"test_catalogue.py: the check WT-90 requires XX-01, which there is not"):
        checks()


@pytest.mark.parametrize("mesh", ["refmesh", "none"])
def test_grounds_render_into_namespaces_of_their_own(mesh):
    seen: set[str] = set()
    for ground in grounds():
        layers = render_ground(ground, load(mesh), run="abc123", image="img:1")
        names = {layer.namespace for layer in layers}
        assert not names & seen
        seen |= names
        assert all(name.startswith("mp-abc123-") and len(name) <= 63 for name in names)
        for layer in layers:
            assert all(item["metadata"]["namespace"] == layer.namespace for item in layer.objects)
            pods = (i for i, item in enumerate(layer.objects) if item["kind"] in {"Pod", "Deployment"})
            first_pod = next(pods, len(layer.objects))
            policies = [i for i, item in enumerate(layer.objects) if item["kind"] == "PeerAuthentication"]
            assert all(i < first_pod for i in policies)  # no pod starts before the policy that it must obey
            marked = "istio-injection" in layer.labels
            assert marked == (mesh == "refmesh" and not layer.namespace.endswith("-out"))


def test_the_checks_that_gateway_apis_own_report_counts_exist():
    assert set(FEATURES) <= {one.id for one in checks()}
