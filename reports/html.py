"""report.html: the page a vendor publishes. One file, no request to anywhere, readable without scripts and on paper.

Everything is escaped by the template; the content security policy admits only the page's own style and script by hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from reports import plots, words
from reports.files import write_text
from reports.model import PHASES, Verdict, plain
from reports.overview import Group, overview, tone
from reports.page import asset, environment, page_policy

if TYPE_CHECKING:
    from pathlib import Path

    import jinja2

    from reports.model import Evidence, Plot, Result, Run

__all__ = ["html_text", "write_html"]

_MOST_ROWS = 60
_MOST_CHARACTERS = 12_000
_KINDS = {"check": "Conformance", "experiment": "Chaos experiments", "measurement": "Measurements"}


@dataclass(frozen=True)
class Section(Group):
    """The results of one kind and group."""

    kind: str


@dataclass(frozen=True)
class Exhibit:
    """A piece of evidence made ready to show: a table where `columns` is set, else preformatted text."""

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    text: str = ""
    note: str = ""
    size: str = ""


def html_text(run: Run) -> str:
    """The run as one self-contained HTML page."""
    style, script = asset("report.css"), asset("report.js")
    return _environment().get_template("report.html.jinja").render(
        run=run,
        policy=page_policy(style, script),
        # Ours, not the user's: the only text on the page that is not escaped, besides the plots that escape themselves.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        counts=words.counts(run.results),
        headline=words.headline(run),
        capabilities=overview(run.results),
        sections=[(_KINDS[kind], kind, _groups(run, kind)) for kind in _KINDS if _groups(run, kind)],
        longest=max([stage.seconds for stage in run.stages] + [0.001]),
        options={key: value for key, value in plain(run.options).items() if value not in (None, "", [], {}, False)},
        phase_names=PHASES,
        Verdict=Verdict,
    )  # fmt: skip


def write_html(run: Run, directory: Path) -> Path:
    """Write `report.html`."""
    path = directory / "report.html"
    write_text(path, html_text(run))
    return path


def exhibit(piece: Evidence) -> Exhibit:
    """How one piece of evidence is shown; long ones are cut, and say so."""
    data = plain(piece.data)
    if isinstance(data, str):
        return _preformatted(piece.title, data)
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        columns = tuple(dict.fromkeys(key for row in data[:_MOST_ROWS] for key in row))[:24]
        rows = tuple(tuple(_cell(row.get(column)) for column in columns) for row in data[:_MOST_ROWS])
        note = f"the first {_MOST_ROWS} of {len(data)}; results.json has them all" if len(data) > _MOST_ROWS else ""
        if columns:
            return Exhibit(piece.title, columns, rows, note=note, size=f"{len(data)} row{'s' if len(data) > 1 else ''}")
    if isinstance(data, dict) and data and all(not isinstance(value, (dict, list)) for value in data.values()):
        return Exhibit(piece.title, ("field", "value"), tuple((key, _cell(value)) for key, value in data.items()))
    return _preformatted(piece.title, json.dumps(data, indent=2, ensure_ascii=False))


def _preformatted(title: str, text: str) -> Exhibit:
    cut = len(text) > _MOST_CHARACTERS
    note = f"cut at {_MOST_CHARACTERS} of {len(text)} characters; results.json has them all" if cut else ""
    lines = text.count("\n") + 1
    return Exhibit(title, text=text[:_MOST_CHARACTERS], note=note, size=f"{lines} lines" if lines > 1 else "")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    return text if len(text) <= 400 else text[:399] + "…"


def figures(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """The single metrics, named and with their units: those measured phase by phase are shown elsewhere."""
    phased = {name for row in phases(metrics) for name in row[2]}
    return [(_metric_name(name), _metric_value(name, value)) for name, value in metrics.items() if name not in phased]


def phases(metrics: Mapping[str, float]) -> list[tuple[str, list[str], list[str]]]:
    """Rows of what was measured phase by phase: the name, a value for each phase, the metrics they come from."""
    stems = dict.fromkeys(
        name.removesuffix(f"_{phase}") for name in metrics for phase in PHASES if name.endswith(phase)
    )
    rows = []
    for stem in stems:
        names = [f"{stem}_{phase}" for phase in PHASES]
        if sum(name in metrics for name in names) > 1:
            values = [_metric_value(name, metrics[name]) if name in metrics else "–" for name in names]
            rows.append((_metric_name(stem), values, names))
    return rows


def _metric_name(name: str) -> str:
    text = name.replace("_", " ").removeprefix("seconds ").removesuffix(" mib").removesuffix(" us").removesuffix(" ms")
    return text.removesuffix(" seconds")


def _metric_value(name: str, value: float) -> str:
    if name.startswith("success") and 0 <= value <= 1:
        return f"{value * 100:.4g} %"
    units = {"ms": "ms", "seconds": "s", "mib": "MiB", "us": "µs"}
    unit = next((units[word] for word in name.split("_") if word in units and not name.startswith("proxy_cpu")), "")
    return f"{words.number(float(f'{value:.3g}') if abs(value) < 1000 else value)} {unit}".strip()


def _groups(run: Run, kind: str) -> list[Section]:
    found: dict[str, list[Result]] = {}
    for result in run.results:
        if result.kind == kind:
            found.setdefault(result.group, []).append(result)
    return [Section(name, tuple(results), kind) for name, results in found.items()]


def _drawings(plot: Plot) -> list[tuple[str, Markup]]:
    """The plot for wide and for narrow screens; nothing when there is nothing to draw."""
    draw = plots.timeline if plot.kind == "timeline" else plots.percentiles
    drawn = [(size, draw(plot.data, plot.title, width)) for size, width in (("wide", 860.0), ("narrow", 360.0))]
    return [(size, Markup(svg)) for size, svg in drawn if svg]  # noqa: S704 - svg.py escapes every text it is given


@cache
def _environment() -> jinja2.Environment:
    return environment({
        "duration": words.duration, "number": words.number, "rate": words.rate, "when": words.when,
        "shown": words.shown, "exhibit": exhibit, "drawings": _drawings, "tone": tone, "cell": _cell,
        "figures": figures, "phases": phases,
    })  # fmt: skip
