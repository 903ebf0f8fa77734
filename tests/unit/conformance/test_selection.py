"""What the flags of the selection mean together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.adapters import load
from conformance.catalogue import checks, ground_of, grounds, in_turn
from conformance.preview import listed, planned
from conformance.selection import Selection, Wish, chosen, excuses, features, shuffled, spared
from reports.errors import UsageProblem

EVERY = {one.id for one in checks()}


def test_without_a_wish_everything_is_judged_ground_by_ground_as_they_come_about():
    found = chosen(Wish())
    assert found.checks == in_turn(checks())
    assert found.grounds == tuple(one.name for one in grounds())
    assert not found.excused


def test_what_the_mesh_does_not_claim_is_excused_and_still_listed():
    found = chosen(Wish(only="WT,CB", features="weights"))
    assert {one.id for one in found.checks} == {one.id for one in checks() if one.group in {"WT", "CB"}}
    assert "WT-01" not in found.excused
    assert found.excused["WT-05"] == "the mesh does not claim: weights by service"
    assert found.excused["CB-01"].startswith("the mesh does not claim: ")
    assert found.grounds == ("wt",)


@pytest.mark.parametrize(
    ("exempt", "ids"), [("WT-01", {"WT-01"}), ("cb-01, WT-02", {"CB-01", "WT-02"}), ("weights by service", {"WT-05"})]
)
def test_exemptions_by_check_and_feature(exempt, ids):
    found = excuses("", exempt)
    assert ids <= set(found)
    assert all("exempted by --exempt" in reason for reason in found.values())
    by_feature = {one.id for one in checks() if "weights by service" in one.proves}
    assert set(found) == (by_feature if exempt == "weights by service" else ids)


def test_features_are_named_in_any_case_and_no_two_by_the_same_letters():
    names = [one.lower() for one in features()]
    assert len(set(names)) == len(names)
    assert {"RT-14", "WT-04"} <= set(excuses("", "gRPC Routing"))
    assert excuses("WEBSOCKET", "").keys() == excuses("WebSocket", "").keys()


def test_a_group_is_exempt_as_a_whole():
    assert set(excuses("", "inj")) == {one.id for one in checks() if one.group == "INJ"}


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(features="wieghts"), "no feature called 'wieghts'"),
        (Wish(exempt="WT-99"), "no feature, check or group called 'WT-99'"),
        (Wish(only="XX"), "no check or group is called 'XX'"),
        (Wish(profile="fast"), "no profile called 'fast'"),
        (Wish(only="WT", again=("CB-01",)), "none of the checks that failed then"),
    ],
)
def test_each_wrong_word_is_one_sentence(wish, said):
    with pytest.raises(UsageProblem, match=said):
        chosen(wish)


def test_close_words_are_suggested():
    with pytest.raises(UsageProblem) as caught:
        chosen(Wish(features="wieghts"))
    assert "did you mean weights" in caught.value.fix


@given(st.integers())
def test_a_seed_draws_one_order_in_which_grounds_stay_together(seed):
    found = chosen(Wish(seed=seed)).checks
    assert found == shuffled(checks(), seed)
    assert {one.id for one in found} == EVERY
    runs = [
        one.ground for position, one in enumerate(found) if not position or found[position - 1].ground != one.ground
    ]
    assert len(runs) == len(set(runs))


def test_seeds_differ():
    assert len({chosen(Wish(seed=seed)).checks for seed in range(20)}) > 10


@given(st.sets(st.sampled_from(features())), st.sets(st.sampled_from(sorted(EVERY))))
def test_claims_and_exemptions_excuse_exactly_what_they_say(claimed, exempt):
    excused = excuses(",".join(claimed), ",".join(exempt))
    for one in checks():
        unclaimed = bool(claimed) and not set(one.proves) <= claimed
        assert (one.id in excused) == (unclaimed or one.id in exempt)


def test_a_preview_names_checks_namespaces_and_excuses():
    found = chosen(Wish(only="WT-01,CB-01", exempt="CB-01"))
    lines = "\n".join(planned(found, load("refmesh")))
    assert "1 checks of" in lines
    assert "mp-run-wt-in" in lines
    assert "mp-run-cb" not in lines
    assert "CB-01 would be unsupported: exempted by --exempt CB-01" in lines
    assert [line.split()[0] for line in listed(replace(found, excused={}))] == ["CB-01", "WT-01"]


def test_a_preview_says_where_no_workload_would_join_the_mesh():
    found = chosen(Wish(only="WT-01"))
    assert any("--set namespace-labels=" in line for line in planned(found, load("gateway-api")))
    for mesh, settings in (("gateway-api", {"per-node": True}), ("consul", {}), ("refmesh", {}), ("none", {})):
        assert not any("opt in" in line for line in planned(found, load(mesh, settings)))


def test_a_check_that_takes_the_mesh_away_is_judged_alone_and_on_demand_only():
    everything, alone = chosen(Wish()), chosen(Wish(only="LC-06"))

    def excused(selection: Selection, farewell: str = "", *, mesh: bool = True) -> Mapping[str, str]:
        return spared(selection, farewell, mesh=mesh, disruptive=True).spared

    assert set(excused(everything, "refmesh uninstall -y")) == {"LC-06"}
    assert "end" not in spared(everything, "refmesh uninstall -y", mesh=True, disruptive=True).grounds
    assert set(excused(alone)) == {"LC-06"}
    assert not excused(alone, "refmesh uninstall -y")
    # Where there is no mesh, there is nothing to spare: the negative control judges it.
    assert not excused(everything, mesh=False)
    exempted = spared(chosen(Wish(exempt="LC-06")), "", mesh=True, disruptive=True)
    assert exempted.excused["LC-06"].startswith("exempted")
    assert not exempted.spared


def test_the_mesh_as_a_whole_is_disturbed_on_demand_only():
    everything = chosen(Wish())
    left_alone = spared(everything, "", mesh=True, disruptive=False)
    assert {"ID-03", "LC-03", "MTLS-12", "LC-06"} <= set(left_alone.spared)
    assert [one.id for one in checks() if ground_of(one.ground).wide and one.id not in left_alone.spared] == ["ID-02"]
    assert [name for name in left_alone.grounds if ground_of(name).wide] == ["upheaval"]
    assert "--disruptive" in left_alone.spared["ID-03"]
    assert not spared(everything, "", mesh=False, disruptive=False).spared


@given(st.integers(0, 2**32))
def test_what_disturbs_the_mesh_comes_last_in_every_order(seed):
    wide = [ground_of(one.ground).wide for one in chosen(Wish(seed=seed)).checks]
    assert wide == sorted(wide)
