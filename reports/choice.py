"""One of several words, as a user types it: taken, or refused with the ones that are close. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from reports.errors import UsageProblem

__all__ = ["choose"]


def choose(word: str, among: Iterable[str], what: str, fix: str = "") -> str:
    """`word` if it is one of `among`; else a `UsageProblem` that suggests close matches."""
    pool = list(among)
    if word in pool:
        return word
    near = difflib.get_close_matches(word.lower(), [name.lower() for name in pool], n=3, cutoff=0.5)
    close = [name for name in pool if name.lower() in near]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UsageProblem(f"there is no {what} called {word!r}", fix=hint + (fix or f"known: {', '.join(pool)}"))
