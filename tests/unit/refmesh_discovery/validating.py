"""The real Envoy's opinion of a configuration, without starting it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import envoy._bin

__all__ = ["complaint"]

ENVOY = Path(envoy._bin.__path__[0]) / "envoy"


def complaint(configuration: dict[str, Any], folder: Path) -> str:
    """What Envoy has against it, at its end; empty where it takes it."""
    config = folder / "envoy.json"
    config.write_text(json.dumps(configuration))
    done = subprocess.run(
        [ENVOY, "--mode", "validate", "-c", config, "-l", "error"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stderr[-2000:] or f"it ended with {done.returncode}") if done.returncode else ""
