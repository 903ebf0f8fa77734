"""Labels, steps and attachments for `pytest --alluredir`; imported only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import allure

from conformance.profiles import CAPABILITIES
from reports.model import Evidence, Result

__all__ = ["describe"]


def describe(result: Result) -> None:
    """Tell Allure about the running test."""
    dynamic: Any = allure.dynamic  # typed in part only
    dynamic.title(f"{result.id} {result.title}")
    dynamic.epic("service-mesh conformance")
    dynamic.feature(CAPABILITIES.get(result.group, ("", result.group))[1])
    dynamic.story(result.title)
    dynamic.severity(allure.severity_level.CRITICAL if result.level == "core" else allure.severity_level.NORMAL)
    dynamic.tag(*result.proves)
    dynamic.description(f"{result.verdict}: {result.reason}\n\nreproduce: {result.reproduce}")
    for required in result.requires:
        # Excluded: it is no part of what Allure knows a test again by.
        dynamic.parameter(f"requires {required}", "checked first", excluded=True)
    with allure.step(f"collect ({result.seconds:.1f} s)"):
        for one in result.evidence:
            _attach(one)
    with allure.step(f"judge: {result.verdict}"):
        for rate in result.error_rates:
            beta = "none" if rate.beta is None else f"{rate.beta:.1e}"
            text = f"alpha {rate.alpha:g}, beta {beta}, detects {rate.detectable}, {rate.samples} samples"
            allure.attach(text, rate.test, allure.attachment_type.TEXT)


def _attach(one: Evidence) -> None:
    if one.title == "bundle":
        attach: Any = allure.attach
        for path in sorted(Path(str(one.data)).glob("*")):
            attach.file(str(path), path.name)
        return
    text = one.data if isinstance(one.data, str) else json.dumps(one.data, indent=1, ensure_ascii=False)
    allure.attach(text, one.title, allure.attachment_type.TEXT)
