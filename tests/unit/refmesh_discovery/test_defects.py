"""Every defect fits its seam and does its harm; without one, nothing of the package is even imported."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from refmesh import defects
from refmesh.api.destination_rule import ConnectionPool, OutlierDetection
from refmesh.api.peer_authentication import MtlsMode
from refmesh.discovery import clusters, routes
from refmesh.discovery.policy import MtlsPolicies
from refmesh.errors import UsageProblem
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy

EVERY = (*defects.catalogue(), *defects.equivalents())


@pytest.fixture(autouse=True)
def sound_again() -> Iterator[None]:
    """Seams are module attributes: put the sound functions back afterwards."""
    seams = [defect.seam.split(":") for defect in EVERY]
    kept = [(importlib.import_module(module), name) for module, name in seams]
    sound = [getattr(module, name) for module, name in kept]
    yield
    for (module, name), function in zip(kept, sound, strict=True):
        setattr(module, name, function)


def test_there_are_six_with_names_of_their_own() -> None:
    names = [defect.name for defect in EVERY]
    assert len(set(names)) == len(names)
    assert len(defects.catalogue()) >= 6
    assert len(defects.equivalents()) >= 4


@pytest.mark.parametrize("defect", EVERY, ids=lambda defect: defect.name)
def test_each_seam_exists_and_is_replaced(defect: defects.Defect) -> None:
    module, _, name = defect.seam.partition(":")
    before = getattr(importlib.import_module(module), name)
    assert defects.switch_on(defect.name) is defect
    assert getattr(importlib.import_module(module), name) is not before


def test_an_unknown_defect_is_a_usage_problem_that_lists_the_known() -> None:
    with pytest.raises(UsageProblem, match="weights-off-by-5"):
        defects.switch_on("no-such-thing")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([90, 10], [8500, 1500]), ([50, 50], [4500, 5500]), ([1], [100]), ([70, 20, 10], [6500, 2000, 1500])],
)
def test_weights_are_off_by_five_points(weights: list[int], expected: list[int]) -> None:
    defects.switch_on("weights-off-by-5")
    assert routes.weighted_shares(weights) == expected


def test_strict_becomes_permissive() -> None:
    cluster = MemoryCluster().with_echo().put("PeerAuthentication", policy("default", {"mtls": {"mode": "STRICT"}}))
    defects.switch_on("strict-served-as-permissive")
    from refmesh.discovery import inbound

    snapshot = cluster.snapshot()
    policies = MtlsPolicies.collect(snapshot.peer_authentications.values(), "refmesh-system")
    found = inbound.inbound_of(snapshot, policies, snapshot.pods["shop", "echo-v1"])
    assert {port.mode for port in found.ports} == {MtlsMode.PERMISSIVE}


def test_ejection_lasts_for_a_day() -> None:
    defects.switch_on("ejected-host-never-returns")
    found = clusters.outlier_detection(OutlierDetection(base_ejection_time=timedelta(seconds=2)))
    assert found.base_ejection_time.seconds == found.max_ejection_time.seconds == 86_400


def test_limits_are_forgotten() -> None:
    defects.switch_on("connection-limit-ignored")
    found = clusters.circuit_breakers(ConnectionPool(max_connections=1, max_pending_requests=1, max_requests=1))
    threshold = found.thresholds[0]
    assert threshold.max_connections.value == threshold.max_pending_requests.value == 2**32 - 1


def test_a_normal_server_imports_no_defects() -> None:
    program = "import sys, refmesh.server; sys.exit('refmesh.defects' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


def test_the_control_plane_loads_no_heavy_library() -> None:
    heavy = ("kubernetes", "pydantic", "jinja2", "typer", "rich", "numpy", "yaml")
    program = f"import sys, refmesh.server; sys.exit(','.join(set({heavy!r}) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
