"""Reads fields of objects from outside: every mistake names the field, and no input can crash the reader.

A `Field` is a JSON value with its path in the object. Reading it gives a typed value or raises `Invalid`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from refmesh.api.expressions import Budget

__all__ = ["MILLISECOND", "Field", "Invalid", "encodable", "parse_duration"]

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# No header, path or name may hold these, and Envoy refuses a whole resource that does.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = timedelta(days=365)
MILLISECOND = timedelta(milliseconds=1)
"""The shortest time for which Envoy can be told to wait."""


class Invalid(ValueError):
    """A field has a value that refmesh cannot use. The message starts with the field's path."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def parse_duration(text: str) -> timedelta | None:
    """A Go-style duration such as `1m30s` or `250ms`; None where it is not one, or is longer than a year."""
    if len(text) > 64 or not _WHOLE.fullmatch(text):
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return timedelta(seconds=seconds) if seconds <= _LONGEST.total_seconds() else None


@dataclass(frozen=True)
class Field:
    """A value of an object, and where it stands in it."""

    value: Any
    path: str
    budget: Budget = field(default_factory=Budget, compare=False, repr=False)
    """For the regular expressions of the whole object."""

    @property
    def present(self) -> bool:
        """Whether the field is there at all; null counts as absent, as it does for the API server."""
        return self.value is not None

    def get(self, key: str) -> Field:
        """A field of this object; absent where this is absent or has no such key."""
        return self._part(self._mapping().get(key), f"{self.path}.{key}" if self.path else key)

    def only(self, *keys: str) -> Field:
        """This field, if it has no other keys. What refmesh cannot do is refused, never dropped in silence."""
        for key, value in self._mapping().items():
            if key not in keys and value is not None:
                raise Invalid(f"{self.path}.{key}", "is not supported by refmesh")
        return self

    def entries(self) -> dict[str, Field]:
        """The fields of a free-form object, such as labels."""
        return {key: self._part(value, f"{self.path}[{key!r}]") for key, value in self._mapping().items()}

    def each(self, *, most: int | None = None) -> list[Field]:
        """The items of a list, of which there may be so many; empty where the field is absent."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise Invalid(self.path, "must be a list")
        if most is not None and len(self.value) > most:
            problem = f"has {len(self.value)} entries, at most {most} are taken: divide them among several objects"
            raise Invalid(self.path, problem)
        return [self._part(item, f"{self.path}[{index}]") for index, item in enumerate(self.value)]

    def text(self, default: str | None = None) -> str:
        """A string; without a default it must be there and not be empty."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            raise Invalid(self.path, "must be a string" if self.present else "is required")
        if not self.value and default is None:
            raise Invalid(self.path, "must not be empty")
        if _CONTROL.search(self.value) or not encodable(self.value):
            raise Invalid(self.path, "holds characters that cannot be sent")
        return self.value

    def choice(self, *allowed: str, default: str | None = None) -> str:
        """A string out of a fixed set."""
        value = self.text(default)
        if value not in allowed:
            raise Invalid(self.path, f"must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def integer(self, default: int | None = None, *, low: int = 0, high: int = 2**31 - 1) -> int:
        """A whole number within bounds; a whole float, as JSON may carry it, counts."""
        value = default if self.value is None else self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            raise Invalid(self.path, "is required")
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(self.path, "must be a whole number")
        if not low <= value <= high:
            raise Invalid(self.path, f"must be between {low} and {high}, not {value}")
        return value

    def number(self, default: float | None = None, *, low: float = 0.0, high: float = 100.0) -> float:
        """A number within bounds."""
        value = default if self.value is None else self.value
        if value is None:
            raise Invalid(self.path, "is required")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(self.path, "must be a number")
        if not low <= value <= high:
            raise Invalid(self.path, f"must be between {low:g} and {high:g}")
        return float(value)

    def boolean(self, *, default: bool = False) -> bool:
        """True or false."""
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise Invalid(self.path, "must be true or false")
        return self.value

    def duration(self, *, low: timedelta = timedelta(0)) -> timedelta | None:
        """A duration such as `1.5s` that is not shorter than `low`, or None where the field is absent."""
        if self.value is None:
            return None
        parsed = parse_duration(self.text())
        if parsed is None:
            raise Invalid(self.path, f"must be a duration such as 250ms, 10s or 1m30s, not {self.value!r}")
        if parsed < low:
            raise Invalid(self.path, f"must be at least {low / MILLISECOND:g}ms")
        return parsed

    def regex(self) -> str:
        """A regular expression that RE2, which Envoy uses, takes, and that costs no more than the object may."""
        value = self.text()
        if problem := self.budget.problem(value):
            raise Invalid(self.path, problem)
        return value

    def _part(self, value: Any, path: str) -> Field:
        return Field(value, path, self.budget)

    def _mapping(self) -> Mapping[str, Any]:
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise Invalid(self.path or "object", "must be an object")
        return self.value


def encodable(text: str) -> bool:
    """Whether this can be sent as UTF-8: half a surrogate pair, which JSON can name, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
