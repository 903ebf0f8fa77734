"""Takes the mesh off the cluster, by the command that the user gave for it."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fixtures.cluster.kubeconfig import choosing, usual_files

__all__ = ["Ended", "Farewell"]

_SECONDS = 180.0
_LAST = 400


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and the last of what it said."""

    code: int
    said: str
    started: bool = True
    """False where there was nothing to run: that says nothing of what it would have done."""


@dataclass(frozen=True)
class Farewell:
    """A command, and the kubeconfig that it finds in KUBECONFIG; None leaves that as it is.

    A `context` is the current one there: the command knows nothing of our flags, and must not reach another cluster.
    """

    command: str
    kubeconfig: Path | None = None
    context: str = ""
    directory: Path | None = None
    """In which it is run, so that it may name a file there; None: that of this process."""

    def say(self) -> Ended:
        """Run it, without a shell. A program that is not there, or does not end, has an exit code all the same."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:  # quotes that do not close
            return Ended(2, f"{self.command!r} is no command: {error}", started=False)
        try:
            with self._environment() as environment:
                done = subprocess.run(
                    words,
                    cwd=self.directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    timeout=_SECONDS,
                    check=False,
                )
        except OSError as error:
            return Ended(127, str(error), started=False)
        except subprocess.TimeoutExpired:
            return Ended(124, f"it did not end within {_SECONDS:.0f} s")
        return Ended(done.returncode, done.stdout.strip()[-_LAST:])

    @contextlib.contextmanager
    def _environment(self) -> Iterator[Mapping[str, str]]:
        """Of the command. The copy of the kubeconfig is for this user's eyes only, and gone when the command is."""
        found = dict(os.environ)
        # Ours last: `refmesh` is found where nobody has activated our environment, and `python` stays the user's.
        found["PATH"] = os.pathsep.join([found.get("PATH", os.defpath), str(Path(sys.executable).parent)])
        if not self.context:
            yield found | ({"KUBECONFIG": str(self.kubeconfig.resolve())} if self.kubeconfig else {})
            return
        chosen = choosing(self.context, [self.kubeconfig] if self.kubeconfig else usual_files())
        with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig", encoding="utf-8") as file:
            yaml.safe_dump(chosen, file)
            file.flush()
            yield found | {"KUBECONFIG": file.name}
