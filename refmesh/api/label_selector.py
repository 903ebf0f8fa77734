"""A label selector of Kubernetes: labels that must be there, and conditions on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from refmesh.api.fields import Field, Invalid

__all__ = ["EVERYTHING", "LabelSelector"]

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True)
class LabelSelector:
    """Key, operator and values of each condition; all must hold. Without conditions it holds for everything."""

    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    @classmethod
    def read(cls, field: Field) -> LabelSelector:
        """Read `matchLabels` and `matchExpressions`. Raises `Invalid`."""
        field.only("matchLabels", "matchExpressions")
        conditions = list[tuple[str, str, tuple[str, ...]]]()
        conditions.extend(
            (key, "In", (value.text(""),)) for key, value in sorted(field.get("matchLabels").entries().items())
        )
        for item in field.get("matchExpressions").each():
            item.only("key", "operator", "values")
            operator = item.get("operator").choice(*_OPERATORS)
            values = tuple(value.text("") for value in item.get("values").each())
            if bool(values) != (operator in {"In", "NotIn"}):
                raise Invalid(f"{item.path}.values", f"must be given with In and NotIn, and only there, not {operator}")
            conditions.append((item.get("key").text(), operator, values))
        return cls(tuple(conditions))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether something with these labels is selected."""
        return all(_holds(labels.get(key), operator, values) for key, operator, values in self.conditions)


EVERYTHING = LabelSelector()


def _holds(value: str | None, operator: str, values: tuple[str, ...]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
