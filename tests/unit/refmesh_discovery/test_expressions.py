"""What the regular expressions of one object may cost the control plane, which reads them again at every start."""

from __future__ import annotations

from typing import Any

import pytest
import re2

from refmesh.api import expressions
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy


def routes(*patterns: str) -> dict[str, Any]:
    matches = [{"uri": {"regex": pattern}} for pattern in patterns]
    return policy("v", {"hosts": ["echo"], "http": [{"match": matches, "route": [{"destination": {"host": "echo"}}]}]})


def reason(obj: dict[str, Any]) -> str:
    """Why the object is not in force; empty for a good one."""
    rejected = MemoryCluster().put("VirtualService", obj).snapshot().rejected
    return next((item.reason for item in rejected.values()), "")


class Compiler:
    """RE2, and what it was asked to compile."""

    error = re2.error

    def __init__(self) -> None:
        self.asked: list[str] = []

    def compile(self, text: str, options: Any) -> Any:
        self.asked.append(text)
        return re2.compile(text, options)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler()
    monkeypatch.setattr(expressions, "re2", found)
    expressions._instructions.cache_clear()
    return found


@pytest.mark.parametrize(
    "pattern",
    [
        "/[a-z]{500}",
        "(a{1,30}){1,30}",
        "^(.*?;)?(user=jason)(;.*)?$",
        "/users/[0-9]+/[a-f0-9-]{36}",
        "\\pL+",
        "/产品/.*",
    ],
)
def test_what_people_write_is_taken(pattern: str) -> None:
    assert reason(routes(pattern)) == ""


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("\\pL{7}x", "takes 8377 instructions of RE2, at most 2000"),
        ("\\pL{900}", "is not a regular expression that RE2 takes: pattern too large"),
        ("[" + "\\pL" * 1000 + "]", "is too long"),
        ("(?i)" + "[A-\u2000]" * 500, "is too long"),
        ("(" * 5000 + ")" * 5000, "is too long"),
    ],
)
def test_an_expression_that_costs_too_much_is_refused(pattern: str, problem: str) -> None:
    assert reason(routes(pattern)).startswith(f"spec.http[0].match[0].uri.regex: {problem}")


def test_an_object_full_of_expressions_is_refused_after_few(compiler: Compiler) -> None:
    patterns = [f"/{number}/\\pL" for number in range(20_000)]
    found = reason(routes(*patterns))
    assert "uri.regex: is too much: the expressions of an object may take 100000" in found
    assert len(compiler.asked) < 70


def test_many_cheap_expressions_are_fine(compiler: Compiler) -> None:
    patterns = [f"/users/[0-9]+/orders/{number}" for number in range(500)]
    assert reason(routes(*patterns)) == ""
    assert reason(routes(*patterns, "/other")) == ""
    assert len(compiler.asked) == 501, "the same expression is compiled once"


def test_known_expressions_are_paid_for_as_new_ones() -> None:
    patterns = ["/\\pL"] * 70
    assert reason(routes(*patterns)) == reason(routes(*patterns)) != ""
