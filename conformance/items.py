"""The suite's test items: which they are, what each judges, and their order. Light: every pytest loads the plugin."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from conformance.model import Check

__all__ = ["ITEM", "Orderer", "check_in", "is_ours", "judges_a_mesh"]

Function = TypeVar("Function", bound=Callable[..., object])

ITEM = "mesh_check"
"""The parameter of an item that has the id of its check."""
_OURS = "_judges_a_mesh"


def judges_a_mesh(function: Function) -> Function:
    """Mark the function of the suite's items: by no name, as others may well have a fixture or an id of any."""
    setattr(function, _OURS, True)
    return function


def is_ours(function: object) -> bool:
    """Whether items of this function are the suite's."""
    return getattr(function, _OURS, None) is True


def check_in(item: pytest.Item | None) -> Check | None:
    """The check that an item judges; None for an item of others, and for ours where no mesh is named."""
    if item is None or not is_ours(getattr(item, "function", None)):
        return None
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get(ITEM) if callspec is not None else None
    if name is None:
        return None
    from conformance.catalogue import check_of

    return check_of(name)


class Orderer:
    """Keeps the checks of a ground together, however others (`--ff`, ids by hand, a shuffle) have mixed them.

    A ground is let go when the next check is on another one, and the checks that disturb all others come last.
    """

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Grounds in the order of their first items, and those in theirs; what is none of ours stays among them."""
        yield
        from conformance.scheduling import together

        places = together([None if check is None else check.ground for check in map(check_in, items)])
        items[:] = [items[place] for place in places]
