"""junit.xml, for the CI systems that read it: a suite per group, verdicts other than pass spelled out.

fail -> failure; an unwanted inconclusive -> error; unsupported and not-run -> skipped with the reason. A stage that
broke off is an error of its own: without it, a run that ended early would look like one in which nothing failed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from reports.files import write_text
from reports.model import Verdict, plain
from reports.words import broken_stages, clean, part, rate

if TYPE_CHECKING:
    from pathlib import Path

    from reports.model import Result, Run

__all__ = ["junit_text", "write_junit"]

_EVIDENCE_LIMIT = 4000  # characters of one piece of evidence: CI systems choke on megabytes; results.json has it all


def junit_text(run: Run) -> str:
    """The run as JUnit XML."""
    groups: dict[str, list[Result]] = {}
    for result in (*run.results, *broken_stages(run)):
        groups.setdefault(f"{result.kind}.{result.group}", []).append(result)
    root = ET.Element("testsuites", {"name": f"meshproof {clean(run.mesh)}", "time": f"{run.seconds:.3f}"})
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for name, results in groups.items():
        suite = ET.SubElement(root, "testsuite", {"name": clean(name)})
        properties = ET.SubElement(suite, "properties")
        facts = {"mesh": run.mesh, "mesh_version": run.mesh_version, "cluster": run.cluster, **run.environment}
        facts |= {"part": part(run)} if part(run) else {}
        for key, value in facts.items():
            ET.SubElement(properties, "property", {"name": clean(key), "value": clean(value)})
        found = dict.fromkeys(totals, 0)
        for result in results:
            found["tests"] += 1
            outcome = _case(suite, run, result)
            if outcome:
                found[outcome] += 1
        suite.attrib.update({key: str(value) for key, value in found.items()})
        suite.set("time", f"{sum(result.seconds for result in results):.3f}")
        for key, count in found.items():
            totals[key] += count
    root.attrib.update({key: str(value) for key, value in totals.items()})
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, run: Run, result: Result) -> str:
    """Add one test case; the name of the counter it belongs to, empty when it came out right."""
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": clean(f"{run.mesh}.{result.kind}.{result.group}"),
            "name": clean(f"{result.id} {result.title}"),
            "time": f"{result.seconds:.3f}",
        },
    )
    reason = clean(result.reason)
    tag, counter = "", ""
    if result.failed:
        tag, counter = "failure", "failures"
    elif result.verdict in (Verdict.UNSUPPORTED, Verdict.NOT_RUN):
        tag, counter = "skipped", "skipped"
    elif result.unproven:
        tag, counter = "error", "errors"
    if tag:
        problem = ET.SubElement(case, tag, {"message": f"{result.verdict.value}: {reason}"})
        if tag != "skipped":
            problem.set("type", result.verdict.value)
            problem.text = f"{reason}\nreproduce: {clean(result.reproduce)}" if result.reproduce else reason
    lines = [f"verdict: {result.verdict.value}", f"reason: {reason}"]
    lines += [
        f"{one.test}: alpha {rate(one.alpha)}, beta {rate(one.beta)}, {one.samples} samples, sees {one.detectable}"
        for one in result.error_rates
    ]
    for piece in result.evidence:
        data = piece.data if isinstance(piece.data, str) else json.dumps(plain(piece.data), ensure_ascii=False)
        lines.append(f"{piece.title}: {data[:_EVIDENCE_LIMIT]}{'…' if len(data) > _EVIDENCE_LIMIT else ''}")
    ET.SubElement(case, "system-out").text = clean("\n".join(lines))
    return counter


def write_junit(run: Run, directory: Path) -> Path:
    """Write `junit.xml`."""
    path = directory / "junit.xml"
    write_text(path, junit_text(run))
    return path
