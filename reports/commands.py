"""Command lines for people to paste."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

__all__ = ["command"]


def command(words: Sequence[object], flags: Mapping[str, object]) -> str:
    """The words and flags as one line for a shell.

    A flag without a value (None, "", False, nothing in a list) is left out, one that is True stands alone, and one with
    a list is repeated.
    """
    line = [str(word) for word in words]
    for flag, value in flags.items():
        if value is True:
            line.append(flag)
        elif isinstance(value, (list, tuple)):
            for one in value:
                line += [flag, str(one)]
        elif value is not None and value is not False and value != "":
            line += [flag, str(value)]
    return shlex.join(line)
