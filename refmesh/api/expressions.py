"""Users' regular expressions: judged and measured by RE2, which Envoy uses. What Envoy refuses costs a port's routes.

Measuring costs time of the loop that everything in the control plane shares, so whatever an expression costs is bounded
before it is compiled, and so is what all expressions of one object cost together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import re2

__all__ = ["MOST_INSTRUCTIONS", "MOST_IN_OBJECT", "Budget"]

MOST_INSTRUCTIONS = 2_000
"""The largest program that RE2 may make of one expression: a millisecond's work. A route may join two of them."""
MOST_IN_OBJECT = 100_000
"""Characters and instructions of all expressions of an object together."""
_LONGEST = 4_096
_HEAVY = 400
"""As many characters does one count for that RE2 may make hundreds of ranges of, even where few of them are left."""
_RANGES = re.compile(r"\\[pP]")
_FOLDS_CASE = re.compile(r"\(\?[a-zA-Z-]*i")
_FOLDED_RANGES = re.compile(r"\\[pPx]|[^\x00-\x7f]")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
# RE2 stops compiling here, some way above the limit: `\pL{1000}` would take a tenth of a second.
_OPTIONS.max_mem = 1 << 19


@dataclass
class Budget:
    """What the expressions of one object may still cost. The same ones cost the same, whether RE2 knows them or not."""

    left: int = MOST_IN_OBJECT

    def problem(self, expression: str) -> str:
        """Why an expression cannot be used; empty for a good one, which is paid for with this."""
        length = _length(expression)
        if length > _LONGEST:
            return f"is too long: {_LONGEST} characters are allowed; a class such as \\pL counts for {_HEAVY}"
        size = _instructions(expression) if length < self.left else 0
        if isinstance(size, str):
            return f"is not a regular expression that RE2 takes: {size}"
        if size > MOST_INSTRUCTIONS:
            return f"takes {size} instructions of RE2, at most {MOST_INSTRUCTIONS} are allowed: count fewer repeats"
        self.left -= length + size
        if self.left < 0:
            return f"is too much: the expressions of an object may take {MOST_IN_OBJECT} characters and instructions"
        return ""


def _length(expression: str) -> int:
    heavy = _FOLDED_RANGES if _FOLDS_CASE.search(expression) else _RANGES
    return len(expression) + _HEAVY * len(heavy.findall(expression))


@lru_cache(maxsize=1024)
def _instructions(expression: str) -> int | str:
    """The size of RE2's program, or what it has against the expression."""
    try:
        return int(re2.compile(expression, _OPTIONS).programsize)
    except re2.error as error:
        return str(error.args[0].decode())
