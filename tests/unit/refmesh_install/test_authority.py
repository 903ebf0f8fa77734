from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.install import options
from refmesh.install.authority import _verified, rows, status

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = {"name": "CN=x", "not_after": "2031-01-01T00:00:00+00:00"}


def page(generation: int = 1, issuer: str = "i1", roots: tuple[str, ...] = ("r1",), **workloads: Any) -> dict[str, Any]:
    return {
        "phase": "stable",
        "kind": "",
        "request": "",
        "generation": generation,
        "roots": [LATER | {"mark": mark} for mark in roots],
        "issuer": LATER | {"mark": issuer},
        "default_seconds": 86_400.0,
        "maximum_seconds": 86_400.0,
        "waiting": [],
        "problem": "",
        "workloads": workloads,
    }


def row(issuer: str, left: float, generation: int = 1) -> dict[str, Any]:
    return {"issuer": issuer, "not_after": NOW.timestamp() + left, "generation": generation}


def test_replicas_are_told_as_one_mesh():
    found = status([page(1, "i1", a=row("i1", 500), b=row("i1", 90)), page(2, "i2", a=row("i2", 700, 2))], NOW)
    assert not found["replicas_agree"]
    assert found["issuer"]["mark"] == "i2"
    assert found["workloads_by_issuer"] == {"i1": 1, "i2": 1}
    assert found["outage_budget_seconds"] == 90


def test_what_has_expired_is_no_part_of_the_budget():
    found = status([page(a=row("i1", -5))], NOW)
    assert found["outage_budget_seconds"] is None
    assert found["workloads_by_issuer"] == {}


def test_the_table_says_how_long_an_outage_may_last():
    table = {line["what"]: line["is"] for line in rows(status([page(a=row("i1", 7200))], NOW), NOW)}
    assert table["outage budget"] == "2 h until the first ends"
    assert table["root"].endswith("for 365 days")


def test_the_end_of_a_rotation_is_verified():
    before = status([page()], NOW)
    with pytest.raises(EnvironmentProblem, match="signs with the old issuer"):
        _verified(before, before, "issuer")
    with pytest.raises(EnvironmentProblem, match="trusts the old root"):
        _verified(before, status([page(issuer="i2", roots=("r2", "r1"))], NOW), "root")
    _verified(before, status([page(issuer="i2", roots=("r2",))], NOW), "root")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("certificate_ttl=1s", "out of bounds"),
        ("certificate_ttl=48h", "above max_certificate_ttl"),
        ("max_certificate_ttl=31d", "out of bounds"),
        ("certificate_ttl=soon", "no duration"),
    ],
)
def test_lifetimes_have_bounds(setting, words):
    with pytest.raises(UsageProblem, match=words):
        options.parse(None, [setting])


def test_minutes_are_fine():
    assert options.seconds(options.parse(None, ["certificateTtl=5m"]).certificate_ttl) == 300
