"""The items of `pytest --pyargs conformance --mesh NAME`: one for each check of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.catalogue import check_of
from conformance.items import judges_a_mesh
from reports.model import Verdict
from reports.words import line

if TYPE_CHECKING:
    from conformance.session import Session


@judges_a_mesh
def test_mesh(mesh_check: str, meshproof_session: Session, request: pytest.FixtureRequest) -> None:
    """One check, by its id; its verdict is the outcome."""
    result = meshproof_session.result(check_of(mesh_check))
    if request.config.getoption("--alluredir", None):
        from conformance.allure_glue import describe

        describe(result)
    reason = line(result.reason)  # a mesh's own words may steer a terminal, or GitHub's runner
    if result.verdict is Verdict.FAIL:
        pytest.fail(reason, pytrace=False)
    if result.verdict is Verdict.INCONCLUSIVE:
        pytest.fail(f"inconclusive: {reason}", pytrace=False)
    if result.verdict is not Verdict.PASS:
        pytest.skip(f"{result.verdict}: {reason}")
