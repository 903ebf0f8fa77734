"""badge.svg: the conclusion in one line, for a README."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from reports.files import write_text
from reports.words import clean, part, profile

if TYPE_CHECKING:
    from pathlib import Path

    from reports.model import Run

__all__ = ["badge_svg", "write_badge"]

_COLOURS = {"conformant": "#18794e", "not conformant": "#b42b21", "not proven": "#8a5a00", "measured": "#5c656f"}
_CHARACTER = 6.6  # units that one character of the font takes, about
_LONGEST = 40


def badge_svg(run: Run) -> str:
    """`mesh version` on the left; on the right the conclusion, and how many checks were right, of how many."""
    checks = [one for one in run.results if one.kind == "check"]
    left = clean(f"{run.mesh} {run.mesh_version}".strip())[:_LONGEST] or "mesh"
    named = f", {clean(profile(run))[:_LONGEST]}" if part(run) and profile(run) else ""
    of_all = f" of {run.catalogue}" if part(run) else ""
    right = run.conclusion + (f"{named} {sum(one.right for one in checks)}/{len(checks)}{of_all}" if checks else "")
    first, second = (len(text) * _CHARACTER + 14 for text in (left, right))
    label = html.escape(f"{left}: {right}, says meshproof")
    whole = f"{first + second:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{label}">'
        f"<title>{label}</title>"
        f'<clipPath id="r"><rect width="{whole}" height="20" rx="4"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{first:.0f}" height="20" fill="#3b4148"/>'
        f'<rect x="{first:.0f}" width="{second:.0f}" height="20" fill="{_COLOURS[run.conclusion]}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{first / 2:.0f}" y="14">{html.escape(left)}</text>'
        f'<text x="{first + second / 2:.0f}" y="14">{html.escape(right)}</text></g></svg>\n'
    )


def write_badge(run: Run, directory: Path) -> Path:
    """Write `badge.svg`."""
    path = directory / "badge.svg"
    write_text(path, badge_svg(run))
    return path
