"""The result model: what one run found out, as frozen values that every room fills and every writer reads.

`to_json` and `from_json` are the only way in and out; the shape is published in `reports/schemas/results-v1.json`.
Times are seconds (epoch seconds for `started`). Nothing here does I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from reports.errors import ExitCode

__all__ = [
    "JSON",
    "PHASES",
    "SCHEMA",
    "ErrorRate",
    "Evidence",
    "Plot",
    "Result",
    "Run",
    "Stage",
    "Verdict",
    "from_json",
    "plain",
    "result_from_json",
    "result_to_json",
    "to_json",
]

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

SCHEMA = "meshproof.results/v1"
"""Name and major version of the published schema; fields may be added within a major version, never changed."""
PHASES = ("before", "during", "recovering", "after")
"""Those of an experiment, in turn. By these names, at the end of theirs, metrics belong together."""


class Verdict(StrEnum):
    """The five verdicts. No data is never a pass."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    UNSUPPORTED = "unsupported"
    """The mesh declares that it cannot express what the check asks for."""
    NOT_RUN = "not-run"
    """A requirement failed, the run ended before, or it was told to leave this out."""


@dataclass(frozen=True)
class Evidence:
    """One observed thing. A string is shown as preformatted text, a list of objects as a table, the rest as JSON."""

    title: str
    data: JSON


@dataclass(frozen=True)
class ErrorRate:
    """How often a statistical verdict may be wrong, and the smallest deviation it can see."""

    test: str
    alpha: float
    """Probability of a false alarm."""
    beta: float | None
    """Probability of missing a deviation of `detectable`; None where the test has no such figure."""
    detectable: str
    samples: int


@dataclass(frozen=True)
class Plot:
    """Data of one plot.

    timeline: `{"series": [{"name", "unit", "points": [[seconds since start, value], …]}],
    "windows": [{"name", "start", "end"}], "marks": [{"name", "t"}]}`.
    percentiles: `{"arms": [{"name", "unit", "points": [[percentile 0..100, value], …]}]}`.
    """

    kind: Literal["timeline", "percentiles"]
    title: str
    data: JSON


@dataclass(frozen=True)
class Result:
    """The verdict of one check, experiment or measurement, with what it rests on."""

    id: str
    title: str
    kind: Literal["check", "experiment", "measurement"]
    group: str
    level: Literal["core", "extended"]
    verdict: Verdict
    reason: str
    proves: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    reference: str = ""
    started: float = 0.0
    seconds: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    error_rates: tuple[ErrorRate, ...] = ()
    plots: tuple[Plot, ...] = ()
    reproduce: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    expected: Verdict = Verdict.PASS
    """What a sound mesh and a sound harness give.

    A sham experiment expects `inconclusive`, a check without a mesh, which is the negative control, `fail`.
    """
    left_out: bool = False
    """Not run as nobody asked for it: what disturbs a mesh as a whole is judged on demand only. It says nothing."""

    @property
    def right(self) -> bool:
        """Whether the verdict is the expected one."""
        return self.verdict is self.expected

    @property
    def failed(self) -> bool:
        """Whether this speaks against the mesh or the harness: a fail or a pass, where it may not be."""
        return self.verdict in (Verdict.FAIL, Verdict.PASS) and not self.right

    @property
    def unproven(self) -> bool:
        """Whether a verdict was asked for and none was reached."""
        return not (self.right or self.left_out) and self.verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_RUN)


@dataclass(frozen=True)
class Stage:
    """One stage of the run and how long it took."""

    name: str
    seconds: float
    detail: str = ""
    problem: str = ""
    """Why the stage failed; empty when it did not."""


@dataclass(frozen=True)
class Run:
    """Everything one run found out about one mesh on one cluster."""

    mesh: str
    mesh_version: str
    cluster: str
    environment: Mapping[str, str]
    started: float
    seconds: float
    stages: tuple[Stage, ...]
    results: tuple[Result, ...]
    options: Mapping[str, JSON]
    product_version: str
    schema: str = SCHEMA
    catalogue: int = 0
    """How many checks this version has: where there are fewer in the results, a part was judged. 0: not known."""

    @property
    def exit_code(self) -> ExitCode:
        """0 only if something was proven, every core result is right, unsupported or left out, and nothing failed.

        A measurement passes whatever it found: it proves something only to who asked for nothing else.
        """
        if any(result.failed for result in self.results):
            return ExitCode.NOT_CONFORMANT
        # A sham that was seen through speaks for the harness, and says nothing about the mesh.
        proving = self._asked or self.results
        proven = any(result.right and result.verdict in (Verdict.PASS, Verdict.FAIL) for result in proving)
        if not proven or self.left_open:
            return ExitCode.NOT_PROVEN
        return ExitCode.CONFORMANT

    @property
    def _asked(self) -> tuple[Result, ...]:
        """What may speak for or against the mesh."""
        return tuple(one for one in self.results if one.kind != "measurement" and not one.left_out)

    @property
    def left_open(self) -> str:
        """What was asked for and is not proven, in a line: of the core, or a stage that failed; "" where nothing is."""
        core = [result for result in self.results if result.level == "core" and result.unproven]
        if core:
            more = f", and {len(core) - 1} more of the core" if len(core) > 1 else ""
            return f"{core[0].id} ({core[0].verdict}: {core[0].reason}){more}"
        return next((f"{stage.name}: {stage.problem}" for stage in self.stages if stage.problem), "")

    @property
    def conclusion(self) -> str:
        """The exit code in words; of a negative control that came out right, what it shows of the mesh that is none.

        A run of measurements alone says nothing of what the mesh does: it is "measured".
        """
        if self.exit_code is ExitCode.CONFORMANT and not self._asked:
            return "measured"
        if self.exit_code is ExitCode.CONFORMANT and any(one.expected is Verdict.FAIL for one in self.results):
            return "not conformant"
        return {ExitCode.CONFORMANT: "conformant", ExitCode.NOT_CONFORMANT: "not conformant"}.get(
            self.exit_code, "not proven"
        )

    def count(self, verdict: Verdict) -> int:
        """How many results have this verdict."""
        return sum(result.verdict is verdict for result in self.results)


def plain(value: object) -> Any:
    """`value` as strict JSON: tuples become lists, numbers without a JSON form None, strangers their text.

    A report must never fail to be written because evidence holds a path or an infinite float.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # A lone surrogate (bytes read leniently) has no UTF-8 form and would break every writer.
        return str(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return plain(str(value))


def result_to_json(result: Result) -> dict[str, Any]:
    """One result as plain JSON."""
    document = {name: plain(getattr(result, name)) for name in _RESULT_SCALARS}
    document["evidence"] = [{"title": plain(one.title), "data": plain(one.data)} for one in result.evidence]
    document["error_rates"] = [{name: plain(getattr(one, name)) for name in _RATE} for one in result.error_rates]
    document["plots"] = [{name: plain(getattr(one, name)) for name in _PLOT} for one in result.plots]
    return document


def result_from_json(document: Mapping[str, Any]) -> Result:
    """The inverse of `result_to_json`; unknown fields are ignored (a newer minor version may have written them)."""
    values = {name: document[name] for name in _RESULT_SCALARS if name in document}
    values["verdict"] = Verdict(document["verdict"])
    values["expected"] = Verdict(document.get("expected", Verdict.PASS))
    values["proves"] = tuple(document.get("proves", ()))
    values["requires"] = tuple(document.get("requires", ()))
    values["metrics"] = {name: value for name, value in document.get("metrics", {}).items() if value is not None}
    values["evidence"] = tuple(Evidence(one["title"], one["data"]) for one in document.get("evidence", ()))
    values["error_rates"] = tuple(
        ErrorRate(**{name: one[name] for name in _RATE}) for one in document.get("error_rates", ())
    )
    values["plots"] = tuple(Plot(**{name: one[name] for name in _PLOT}) for one in document.get("plots", ()))
    return Result(**values)


def to_json(run: Run) -> dict[str, Any]:
    """The run as plain JSON in the published schema. `conclusion` and `exit_code` are there for readers only."""
    document = {name: plain(getattr(run, name)) for name in _RUN_SCALARS}
    document["conclusion"] = run.conclusion
    document["exit_code"] = int(run.exit_code)
    document["stages"] = [{name: plain(getattr(one, name)) for name in _STAGE} for one in run.stages]
    document["results"] = [result_to_json(one) for one in run.results]
    return document


def from_json(document: Mapping[str, Any]) -> Run:
    """The inverse of `to_json`.

    Raises `UsageProblem` naming the field when the document does not keep the schema.
    """
    from reports.schemas import check  # jsonschema is slow to import and only readers of files need it

    check(document)
    values = {name: document[name] for name in _RUN_SCALARS if name in document}
    values["stages"] = tuple(Stage(**{name: one[name] for name in _STAGE if name in one}) for one in document["stages"])
    values["results"] = tuple(result_from_json(one) for one in document["results"])
    return Run(**values)


_RESULT_SCALARS = (
    "id", "title", "kind", "group", "level", "verdict", "expected", "left_out", "reason", "proves", "requires",
    "reference", "started", "seconds", "reproduce", "metrics",
)  # fmt: skip
_RATE = ("test", "alpha", "beta", "detectable", "samples")
_PLOT = ("kind", "title", "data")
_STAGE = ("name", "seconds", "detail", "problem")
_RUN_SCALARS = (
    "schema", "product_version", "mesh", "mesh_version", "cluster", "environment", "started", "seconds", "options",
    "catalogue",
)  # fmt: skip
