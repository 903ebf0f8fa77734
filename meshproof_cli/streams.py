"""What we print to may be gone or know few characters: neither changes what was found out, nor its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO

__all__ = ["forgiving_streams"]


class _Forgiving:
    """A stream whose reader may go away (`| head`): what is written then goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        try:
            return len(text) if self._gone else self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        """What the stream still holds must not fail again when the interpreter ends."""
        self._gone = True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """For the length of a block, printing neither fails for a reader that went away nor for a character."""
    before = sys.stdout, sys.stderr
    # A stream that is closed (`>&-`) is None to Python, and prints nothing.
    sys.stdout, sys.stderr = (one and _Forgiving(one) for one in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before
