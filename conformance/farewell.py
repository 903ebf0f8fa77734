"""Takes the mesh off the cluster, by the command that the user gave for it."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "Farewell"]

_SECONDS = 180.0
_LAST = 400


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and the last of what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Farewell:
    """A command, and the kubeconfig that it finds in KUBECONFIG; None leaves that as it is."""

    command: str
    kubeconfig: Path | None = None

    def say(self) -> Ended:
        """Run it, without a shell. A program that is not there, or does not end, has an exit code all the same."""
        environment = os.environ | ({"KUBECONFIG": str(self.kubeconfig.resolve())} if self.kubeconfig else {})
        try:
            done = subprocess.run(
                shlex.split(self.command),
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
            return Ended(127, str(error))
        except subprocess.TimeoutExpired:
            return Ended(124, f"it did not end within {_SECONDS:.0f} s")
        except ValueError as error:  # quotes that do not close
            return Ended(2, f"{self.command!r} is no command: {error}")
        return Ended(done.returncode, done.stdout.strip()[-_LAST:])
