"""Command lines for people to paste."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["command", "program"]


def program(name: str) -> str:
    """A program of this environment as a shell finds it: by its name, or by its path where the name leads elsewhere.

    That is so in a clone, whose environment nobody has activated. meshproof itself is then named as the launcher there
    was called, `./meshproof`: a path would be one of this machine alone.
    """
    own, found = Path(sys.executable).with_name(name), shutil.which(name)
    launcher = os.environ.get("MESHPROOF_PROGRAM", "") if name == "meshproof" else ""
    ours = [one for one in (own, Path(launcher)) if one.is_file()]
    if own not in ours or (found and any(one.samefile(found) for one in ours)):
        return name
    return launcher or str(own)


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
