"""Writing report files: whole or not at all, and one clear sentence when the disk refuses."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reports.errors import EnvironmentProblem, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MARKER",
    "claim_directory",
    "clear_directory",
    "held_directory",
    "mark_directory",
    "one_sentence",
    "remove",
    "write_text",
]

MARKER = ".meshproof-report"
_MARKER_TEXT = "meshproof made this directory: the next run puts what meshproof wrote here aside, or replaces it.\n"


@contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """What the file system refuses for `path` becomes an `EnvironmentProblem`."""
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write {path}: {error.strerror or error}",
            fix="free some space or name another place",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 by way of a temporary neighbour, so that a reader never sees half a file.

    Raises `EnvironmentProblem` when the file system refuses.
    """
    neighbour = path.with_name(f".{path.name}.part")
    with one_sentence(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            neighbour.write_text(text, encoding="utf-8", errors="replace")
            neighbour.replace(path)
        except OSError:
            neighbour.unlink(missing_ok=True)
            raise


def claim_directory(path: Path, flag: str = "--report-dir") -> Path:
    """Make `path` ours for a report, without touching what is in it yet; returns it absolute. `flag` named it.

    Raises `UsageProblem` when it holds something that is not an earlier report, `EnvironmentProblem` when it cannot be
    written.
    """
    absolute = path.absolute()
    if absolute.exists() and not absolute.is_dir():
        raise UsageProblem(f"the report directory {path} is a file", fix=f"name a directory with {flag}")
    with one_sentence(absolute):
        absolute.mkdir(parents=True, exist_ok=True)
        foreign = not (absolute / MARKER).is_file() and any(absolute.iterdir())
    if foreign:
        raise UsageProblem(
            f"the report directory {path} holds files that are not an earlier report",
            fix=f"empty it yourself or name another with {flag}",
        )
    if not os.access(absolute, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"the report directory {path} is not writable", fix=f"name another with {flag}")
    mark_directory(absolute)
    return absolute


def mark_directory(path: Path) -> None:
    """Mark a directory as one in which what has a name of ours is ours to replace."""
    write_text(path / MARKER, _MARKER_TEXT)


@contextmanager
def held_directory(path: Path) -> Iterator[None]:
    """Keep other runs out of a claimed directory. The lock is the kernel's: that of a killed run is nobody's.

    Raises `UsageProblem` where another run is at work in it.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageProblem(
                f"another run is writing to the report directory {path}", fix="name another with --report-dir"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def clear_directory(path: Path) -> None:
    """Remove an earlier report from a claimed directory; the marker stays, links are removed and not followed."""
    with one_sentence(path):
        for child in path.iterdir():
            if child.name != MARKER:
                remove(child)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; of a link, only itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
