"""Progress for people: rich on a terminal, plain lines without one; always on stderr so that stdout stays data.

Steps may nest and may run in several threads: one line is live at a time, and it names every step under way.
`NO_COLOR` and `TERM=dumb` are honoured by rich itself; so is `FORCE_COLOR`, which asks for colours in a log, not for a
line that is drawn anew twelve times a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

__all__ = ["Step", "console", "say", "step"]


def _at_a_terminal() -> bool:
    """Whether somebody sees what is drawn over. Standard error that is closed (`2>&-`) is None."""
    return sys.stderr is not None and sys.stderr.isatty()


console = Console(stderr=True, highlight=False, soft_wrap=True, force_interactive=None if _at_a_terminal() else False)

_QUIET_SECONDS = 10  # without a terminal, at most one line of progress per step in this time

# The steps under way and the line that shows them; rich allows one live display per console.
_lock = threading.RLock()
_under_way: list[Step] = []
_live: list[Status] = []


def say(text: str) -> None:
    """One line of narration, as it is: what is in brackets is text of somebody's, not rich's markup."""
    console.print(text, markup=False)


class Step:
    """A piece of long work under way; `update` says how far it is."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()
        self._said = self.started

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        """Show `detail` beside the title; without a terminal at most one line in ten seconds."""
        self.detail = detail
        if not console.is_interactive and time.monotonic() - self._said >= _QUIET_SECONDS:
            self._said = time.monotonic()
            console.print(f"   … {self.title}: {detail} ({self.seconds:.0f} s)", markup=False)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Run a piece of long work: shows that it runs, how far it is, how long it took, or that it failed."""
    current = Step(title)
    _begin(current)
    try:
        yield current
    except BaseException as error:
        _end(current)
        word = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        if console.is_terminal:
            console.print(f"[red]✗[/red] {escape(title)}  [dim]{word} after {current.seconds:.1f} s[/dim]")
        else:
            console.print(f"!! {title} {word} after {current.seconds:.1f} s", markup=False)
        raise
    _end(current)
    tail = f"  {escape(current.detail)}" if current.detail else ""
    console.print(f"[green]✓[/green] {escape(title)}{tail}  [dim]{current.seconds:.1f} s[/dim]")


class _Line:
    """What is under way, said anew whenever the live line is drawn, so that the seconds run."""

    def __rich__(self) -> Text:
        line = Text()
        for one in _under_way.copy():
            line.append("  ·  " if line else "").append(one.title)
            line.append(f"  {one.detail}" if one.detail else "", style="dim").append(
                f"  {one.seconds:.0f} s", style="dim"
            )
        return line


def _begin(current: Step) -> None:
    with _lock:
        _under_way.append(current)
        if not console.is_interactive:
            console.print(f"-- {current.title}", markup=False)
        elif not _live:
            status = console.status(_Line())
            status.start()
            _live.append(status)


def _end(current: Step) -> None:
    with _lock:
        _under_way.remove(current)
        if _live and not _under_way:
            _live.pop().stop()
