from __future__ import annotations

from conformance.catalogue import checks
from conformance.scheduling import ByGround


def test_checks_of_one_ground_share_a_worker():
    scheduler = ByGround.__new__(ByGround)
    scheduler._grounds = {one.id: one.ground for one in checks()}
    assert scheduler._split_scope("conformance/test_mesh.py::test_mesh[CB-01]") == "cb"
    assert scheduler._split_scope("conformance/test_mesh.py::test_mesh[INJ-05]@x") == "join"
    assert scheduler._split_scope("tests/test_other.py::test_it[3]") == "tests/test_other.py::test_it[3]"
