"""The latency measurement on a real cluster, without a mesh: the A/A arm alone."""

from dataclasses import replace
from typing import Any

import pytest

from fixtures.kube import Kube
from load import Meshing, measure
from load.blocks import AGAIN, BASE
from load.plan import SHORT
from reports.model import Verdict

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("load")]


def test_equal_arms_are_measured_and_nothing_is_left(cluster, image):
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    # A test machine is busy with other tests, so lateness is allowed; this is about the way, not about the numbers.
    plan = replace(SHORT, pairs=10, rate=100.0, lag_budget_us=1e7)
    result = measure(kube, Meshing("none"), image, plan)
    assert result.verdict in {Verdict.UNSUPPORTED, Verdict.INCONCLUSIVE}, result.reason
    # A block in which a request ran out of time is measured again.
    valid = result.metrics["blocks"] - result.metrics["invalid_blocks"]
    assert valid >= 20, [e.data for e in result.evidence]
    rows: Any = result.evidence[1].data
    arms = {row["arm"]: row for row in rows}
    assert set(arms) == {BASE, AGAIN}
    assert all(row["requests"] >= 10 * 30 for row in arms.values())
    assert 0 < arms[BASE]["service p50"] < 1e6
    assert result.metrics["aa_p50_low_us"] <= result.metrics["aa_p50_us"] <= result.metrics["aa_p50_high_us"]
    for space in kube.list("v1", "Namespace"):
        if space["metadata"]["name"].startswith("meshproof-load-"):
            kube.wait_gone("v1", "Namespace", space["metadata"]["name"], timeout=240)
