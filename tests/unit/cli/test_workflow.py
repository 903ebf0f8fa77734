"""The workflow to copy: what its form offers is what the command line is given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.profiles import PROFILES
from meshproof_cli.plan import Options
from meshproof_cli.run import catalogues, planned

FILE = Path(__file__).resolve().parents[3] / ".github" / "workflows" / "judge-your-mesh.yml"


@pytest.fixture
def workflow() -> dict[str, Any]:
    # GitHub reads `on` as a word, where YAML 1.1 has a truth value.
    return yaml.load(FILE.read_text(encoding="utf-8"), yaml.BaseLoader)  # type: ignore[no-any-return]


def step(workflow: dict[str, Any], name: str) -> str:
    (found,) = (one["run"] for one in workflow["jobs"]["judge"]["steps"] if one.get("name") == name)
    return str(found)


def test_every_answer_of_the_form_is_used(workflow: dict[str, Any]) -> None:
    for name in workflow["on"]["workflow_dispatch"]["inputs"]:
        (variable,) = (key for key, value in workflow["env"].items() if f"inputs.{name} " in value)
        assert re.search(rf"\$\{{?{variable}\b", FILE.read_text(encoding="utf-8")), name


def test_an_untouched_form_and_a_schedule_judge_everything(workflow: dict[str, Any]) -> None:
    inputs = workflow["on"]["workflow_dispatch"]["inputs"]
    profile = inputs["profile"]["default"]
    assert f"'{profile}'" in workflow["env"]["PROFILE"]
    assert '--profile "$PROFILE"' in step(workflow, "Judge it")
    assert profile in {one.name for one in PROFILES}
    known = catalogues()
    options = Options(context="c", mesh=inputs["mesh"]["default"], profile=profile, disruptive=True)
    assert not inputs["only"]["default"]
    assert set(planned(options, known).selection.ids) == {*known.titles} - known.last
