"""The judge of CB-08 on histories made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.adapters.istio_api.telemetry import EXPOSITION
from conformance.checks.limits import Burst
from conformance.checks.tripping import Tripped, judge_tripped
from conformance.exposition import Counter
from conformance.histories import decode, encode
from reports.model import Verdict

SERVICE = "tripped.space.svc.cluster.local"
SERVED = (0.01, 200, None, True)
REFUSED = (0.002, 503, None, False)


def series(count: float, flags: str = "UO", reporter: str = "source", service: str = SERVICE) -> Counter:
    labels = {"reporter": reporter, "destination_service": service, "response_code": "503", "response_flags": flags}
    return Counter(tuple(sorted(labels.items())), count)


SOUND = Tripped(
    EXPOSITION, SERVICE, Burst((SERVED,) * 10), Burst((SERVED,) * 3 + (REFUSED,) * 13), (), (series(13), series(2, "-"))
)


def test_as_many_as_were_refused_pass() -> None:
    found = judge_tripped(SOUND)
    assert (found.verdict, found.reason) == (
        Verdict.PASS,
        "all 13 that the cap refused were counted as such, and no other",
    )
    assert decode(encode(SOUND)) == SOUND


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"exposition": None}, Verdict.FAIL),
        ({"after": ()}, Verdict.FAIL),
        ({"after": (series(26),)}, Verdict.FAIL),
        ({"after": (series(12),)}, Verdict.FAIL),
        ({"after": (series(13, "UF"),)}, Verdict.FAIL),
        ({"after": (series(13, reporter="destination"),)}, Verdict.FAIL),
        ({"after": (series(13, service="other.space.svc.cluster.local"),)}, Verdict.FAIL),
        ({"before": (series(1),), "after": (series(14),)}, Verdict.FAIL),
        pytest.param({"after": None}, Verdict.INCONCLUSIVE, id="not read after the crowd"),
        pytest.param({"before": None}, Verdict.INCONCLUSIVE, id="not read before it"),
        ({"crowd": Burst((SERVED,) * 16)}, Verdict.INCONCLUSIVE),
        ({"calm": Burst((SERVED,) * 9 + (REFUSED,))}, Verdict.INCONCLUSIVE),
        ({"crowd": Burst(((1.0, None, "reset", False),) * 16)}, Verdict.INCONCLUSIVE),
    ],
)
def test_anything_else_does_not(change: dict[str, object], verdict: Verdict) -> None:
    assert judge_tripped(replace(SOUND, **change)).verdict is verdict  # type: ignore[arg-type]
