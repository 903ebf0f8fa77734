"""Commands that are imported when they are called, so that `meshproof --help` stays instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["LAZY", "Lazy", "LazyGroup"]


@dataclass(frozen=True)
class Lazy:
    """Where a command's typer app lies, and its one line of help."""

    module: str
    help: str
    prepare: str = ""
    """`module:function` to call before the app is used; it wires rooms together that may not import each other."""


LAZY: dict[str, Lazy] = {}
"""The lazily imported commands, in the order of the help page."""


class _Stand(TyperCommand):
    """Stands in for a command until it is called: shows its help line, and imports it to parse its arguments."""

    def __init__(self, name: str, lazy: Lazy) -> None:
        super().__init__(name, callback=None, help=lazy.help)
        self._lazy = lazy

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which click then invokes."""
        if self._lazy.prepare:
            module, _, function = self._lazy.prepare.partition(":")
            getattr(import_module(module), function)()
        command: Any = typer.main.get_command(import_module(self._lazy.module).app)
        return command.make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """A group whose commands are the ones in `LAZY`."""

    def __init__(self, **attributes: Any) -> None:
        known: Mapping[str, Any] = {name: _Stand(name, lazy) for name, lazy in LAZY.items()}
        super().__init__(**{**attributes, "commands": {**known, **dict(attributes.get("commands") or {})}})
