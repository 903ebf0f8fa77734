"""Progress for people: rich on a terminal, plain lines without one; always on stderr so that stdout stays data.

`NO_COLOR` and `TERM=dumb` are honoured by rich itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

__all__ = ["Step", "console", "say", "step"]

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line of narration."""
    console.print(text)


class Step:
    """A piece of long work under way; `update` says how far it is."""

    def __init__(self, title: str, status: Status | None) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()
        self._status = status
        self._said = self.started

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        """Show `detail` beside the title; without a terminal at most one line in ten seconds."""
        self.detail = detail
        if self._status is not None:
            self._status.update(f"{self.title}  [dim]{detail}  {self.seconds:.0f} s[/dim]")
        elif time.monotonic() - self._said >= 10:
            self._said = time.monotonic()
            console.print(f"   … {self.title}: {detail} ({self.seconds:.0f} s)", markup=False)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Run a piece of long work: shows that it runs, how far it is, how long it took, or that it failed."""
    if console.is_terminal:
        with console.status(title) as status:
            current = Step(title, status)
            try:
                yield current
            except BaseException:
                console.print(f"[red]✗[/red] {title}  [dim]{current.seconds:.1f} s[/dim]")
                raise
    else:
        current = Step(title, None)
        console.print(f"-- {title}", markup=False)
        try:
            yield current
        except BaseException:
            console.print(f"!! {title} failed after {current.seconds:.1f} s", markup=False)
            raise
    tail = f"  {current.detail}" if current.detail else ""
    console.print(f"[green]✓[/green] {title}{tail}  [dim]{current.seconds:.1f} s[/dim]")
