"""Gateway API's own report: upstream's fields, upstream's arithmetic, upstream's file names, and nothing pretended."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshproof_cli import main
from reports.data_files import write_json
from reports.errors import UsageProblem
from reports.gateway_api import (
    FEATURES,
    Implementation,
    conformance_report,
    file_name,
    version_found,
    write_conformance_report,
)
from reports.model import Result, Run, Verdict
from reports.schemas import CONFORMANCE_REPORT, first_flaw

MAKER = Implementation("acme", "mesh", "https://acme.example/mesh", "v2.14.0", ("@someone",))
ENVIRONMENT = {"Gateway API": "v1.4.0", "Gateway API channel": "standard"}
RUN = Run("gateway-api", "2.14", "c", ENVIRONMENT, 1764000000.5, 1, (), (), {}, "0")
PASS, FAIL, OPEN, UNSUPPORTED, NOT_RUN = Verdict


def run(**verdicts: Verdict) -> Run:
    results = tuple(
        Result(name.replace("_", "-"), "t", "check", "WT", "core", verdict, "r") for name, verdict in verdicts.items()
    )
    return replace(RUN, results=results)


def test_every_field_is_upstreams():
    core = dict.fromkeys((name for name, one in FEATURES.items() if not one.extended), PASS)
    extended = {"RT-05": PASS, "RT-01": UNSUPPORTED, "RT-06": UNSUPPORTED, "RT-09": UNSUPPORTED}
    report = conformance_report(run(**core | extended | {"WT-04": FAIL, "CB-01": FAIL}), MAKER)
    assert first_flaw(report, CONFORMANCE_REPORT) is None
    assert report["date"] == "2025-11-24T16:00:00.500000Z"
    grpc, http = report["profiles"]
    assert grpc == {
        "name": "MESH-GRPC",
        "summary": "Core tests failed with 1 test failures.",
        "core": {
            "result": "failure",
            "statistics": {"Failed": 1, "Passed": 0, "Skipped": 0},
            "failedTests": ["WT-04"],
        },
    }
    assert http["summary"] == "Core tests succeeded. Extended tests succeeded."
    assert http["extended"] == {
        "result": "success",
        "statistics": {"Failed": 0, "Passed": 1, "Skipped": 0},
        "supportedFeatures": ["MeshHTTPRouteRewritePath"],
        "unsupportedFeatures": [
            "MeshConsumerRoute", "MeshHTTPRouteQueryParamMatching", "MeshHTTPRouteRedirectPath",
            "MeshHTTPRouteRedirectPort", "MeshHTTPRouteSchemeRedirect",
        ],
    }  # fmt: skip


def test_a_control_that_fails_as_it_must_is_no_success():
    core = dict.fromkeys((name for name, one in FEATURES.items() if not one.extended), FAIL)
    control = run(**core)
    expected = replace(control, results=tuple(replace(one, expected=FAIL) for one in control.results))
    assert {one["core"]["result"] for one in conformance_report(expected, MAKER)["profiles"]} == {"failure"}


def test_what_a_run_left_out_makes_the_report_partial():
    (http,) = conformance_report(run(WT_05=PASS, RT_05=PASS), MAKER)["profiles"]
    assert (http["core"]["result"], http["extended"]["result"]) == ("partial", "partial")
    assert http["core"]["skippedTests"] == ["RT-02", "RT-07", "WT-01", "WT-02", "WT-08", "WT-09"]
    assert http["extended"]["skippedTests"] == ["RT-01", "RT-06", "RT-09"]


@pytest.mark.parametrize("verdict", [OPEN, NOT_RUN, UNSUPPORTED])
def test_a_core_check_without_a_verdict_makes_the_report_partial(verdict):
    every = dict.fromkeys(FEATURES, PASS) | {"WT-02": verdict}
    core = conformance_report(run(**every), MAKER)["profiles"][1]["core"]
    assert core["result"] == "partial"
    assert core["skippedTests"] == ["WT-02"]


@given(st.dictionaries(st.sampled_from(sorted(FEATURES)), st.sampled_from(Verdict), min_size=1))
def test_every_report_keeps_the_schema_and_counts_every_check_once(verdicts):
    report = conformance_report(run(**verdicts), MAKER)
    assert first_flaw(yaml.safe_load(yaml.safe_dump(report)), CONFORMANCE_REPORT) is None
    counted = sum(sum(level["statistics"].values()) for one in report["profiles"] for level in levels(one))
    undeclared = sum(bool(FEATURES[name].extended) and one is UNSUPPORTED for name, one in verdicts.items())
    profiles = {FEATURES[name].profile for name in verdicts}
    assert counted == sum(one.profile in profiles for one in FEATURES.values()) - undeclared
    for level in (level for one in report["profiles"] for level in levels(one)):
        assert len(level.get("failedTests", [])) == level["statistics"]["Failed"]
        assert (level["result"] == "failure") == bool(level["statistics"]["Failed"])


def levels(profile):
    return [profile[name] for name in ("core", "extended") if name in profile]


@pytest.mark.parametrize(
    ("changed", "maker", "said"),
    [
        ({"mesh": "istio"}, MAKER, "istio was judged by its own kinds"),
        ({"environment": {}}, MAKER, "does not say its Gateway API and Gateway API channel"),
        ({"results": ()}, MAKER, "no check of a Gateway API profile"),
        ({}, replace(MAKER, organization=" "), "needs organization"),
        ({}, replace(MAKER, contact=()), "needs a contact"),
        ({}, replace(MAKER, url="acme"), "url must be"),
        ({}, replace(MAKER, version="1.2, Gateway API v1.7.0"), "the version names the mesh's alone"),
        ({}, replace(MAKER, contact=("@me", "foo")), "the contact 'foo' is none of these: a GitHub name"),
        ({}, replace(MAKER, contact=("@me/",)), "the contact '@me/' is none"),
    ],
)
def test_what_cannot_be_such_a_report_is_refused_in_one_sentence(changed, maker, said):
    with pytest.raises(UsageProblem, match=said):
        conformance_report(replace(run(WT_05=PASS), **changed), maker)


@pytest.mark.parametrize("contact", ["@me", "@my-team/mesh.users", "me@example.org", "https://example.org/contact"])
def test_every_kind_of_contact_is_taken(contact):
    report = conformance_report(run(WT_05=PASS), replace(MAKER, contact=(contact,)))
    assert report["implementation"]["contact"] == [contact]


@pytest.mark.parametrize(
    ("found", "own"), [("2.14, Gateway API v1.7.0", "2.14"), ("Gateway API v1.7.0", ""), ("2.14", "2.14"), ("", "")]
)
def test_the_version_of_the_definitions_is_not_the_meshs(found, own):
    assert version_found(replace(RUN, mesh_version=found)) == own


def test_the_schema_refuses_what_upstream_does_not_know():
    report = conformance_report(run(WT_05=PASS), MAKER)
    flaws: tuple[dict[str, object], ...] = (
        {"mode": ""},
        {"verdict": "x"},
        {"gatewayAPIChannel": "beta"},
        {"profiles": []},
        {"date": "today"},
    )
    for damaged in flaws:
        assert first_flaw({**report, **damaged}, CONFORMANCE_REPORT) is not None


def test_files_are_named_as_upstream_wants_them(tmp_path):
    path = write_conformance_report(run(WT_05=PASS), tmp_path, MAKER)
    assert path.name == "standard-v2.14.0-default-report.yaml"
    assert first_flaw(yaml.safe_load(path.read_text()), CONFORMANCE_REPORT) is None
    assert "/" not in file_name({**conformance_report(run(WT_05=PASS), replace(MAKER, version="a/b"))})


def test_the_command(tmp_path, capsys):
    source = str(write_json(run(WT_05=PASS), tmp_path))
    who = ("--organization", "acme", "--project", "mesh", "--url", "https://a.example", "--contact", "@me")
    new = tmp_path / "new"
    for flags, code in ((who, 0), ((*who[:-2], "-d", str(new)), 2)):
        with pytest.raises(SystemExit) as ended:
            main.main(["report", source, "-f", "gateway-api", *flags])
        assert ended.value.code == code
    out, err = capsys.readouterr()
    assert out.strip().endswith("standard-2.14-default-report.yaml")
    assert "needs a contact" in err
    assert not new.exists()
