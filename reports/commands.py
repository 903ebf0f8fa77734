"""Command lines for people to paste."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["command", "program"]


def program(name: str) -> str:
    """A program of this environment as a shell finds it: by its name, or by its path where the name leads elsewhere.

    That is so in a clone, whose environment nobody has activated.
    """
    own, found = Path(sys.executable).with_name(name), shutil.which(name)
    return str(own) if own.is_file() and not (found and own.samefile(found)) else name


def command(words: Sequence[object], flags: Mapping[str, object]) -> str:
    """The words and flags as one line for a shell; the first word is a program of this environment.

    A flag without a value (None, "", False, nothing in a list) is left out, one that is True stands alone, and one with
    a list is repeated.
    """
    first, *others = words
    line = [program(str(first)), *(str(word) for word in others)]
    for flag, value in flags.items():
        if value is True:
            line.append(flag)
        elif isinstance(value, (list, tuple)):
            for one in value:
                line += [flag, str(one)]
        elif value is not None and value is not False and value != "":
            line += [flag, str(value)]
    return shlex.join(line)
