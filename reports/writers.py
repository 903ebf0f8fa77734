"""Every format a report can be written in, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from reports.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reports.model import Run

__all__ = ["FORMATS", "write"]

# Imported when asked for: jinja2, yaml and the XML tools cost more than the other formats together.
_WRITERS = {
    "json": ("reports.data_files", "write_json"),
    "yaml": ("reports.data_files", "write_yaml"),
    "junit": ("reports.junit", "write_junit"),
    "allure": ("reports.allure", "write_allure"),
    "github": ("reports.github", "write_summary"),
    "html": ("reports.html", "write_html"),
    "badge": ("reports.badge", "write_badge"),
}

FORMATS = tuple(_WRITERS)


def write(run: Run, directory: Path, formats: Iterable[str] = FORMATS) -> dict[str, Path]:
    """Write `run` into `directory` in each format; where each came to lie.

    Raises `UsageProblem` for an unknown format, `EnvironmentProblem` when the file system refuses.
    """
    written = {}
    for name in formats:
        if name not in _WRITERS:
            raise UsageProblem(f"there is no report format {name!r}", fix=f"choose from {', '.join(FORMATS)}")
        module, function = _WRITERS[name]
        written[name] = getattr(import_module(module), function)(run, directory)
    return written
