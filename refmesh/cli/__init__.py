"""The command line of refmesh: install, uninstall, check, inject, defects; istioctl's words where it has them."""

from __future__ import annotations

import sys
from typing import NoReturn

import aiohttp

from refmesh.cli import authority, installing, looking, manifests, reporting  # noqa: F401  (each adds its commands)
from refmesh.cli.common import PROGRAM, app, say
from refmesh.errors import RefmeshError
from refmesh.kubeclient import KubeError

__all__ = ["app", "main"]


def main() -> NoReturn:
    """Run the command line; a user's mistake ends in one sentence and exit code 2 or 3, never in a traceback."""
    try:
        app(standalone_mode=True, prog_name=PROGRAM)  # else `python -m refmesh`, which is no word that completes
    except RefmeshError as error:
        say(f"refmesh: {error}")
        # what the API server refuses is a matter of the surroundings
        sys.exit(3 if isinstance(error, KubeError) else error.exit_code)
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or "it took too long"
        say(f"refmesh: The API server does not answer: {why}. Check --kubeconfig and --context.")
        sys.exit(3)
    except PermissionError as error:
        if error.filename is None:
            raise
        say(f"refmesh: {error.filename} cannot be used: {error.strerror}.")
        sys.exit(3)
    sys.exit(0)
