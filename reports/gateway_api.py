"""Gateway API's own report format: a `ConformanceReport` of gateway.networking.k8s.io/v1, in upstream's file naming.

The fields are those of `conformance/apis/v1` in the upstream repository (v1.7.0), the rules those of
`conformance/reports/README.md`. Results are of *our* checks, named by their ids: whoever submits a report to the
Gateway API project runs the project's own suite as well. Only a run whose intents were all worded in Gateway API can
speak of its profiles; any other is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from reports.errors import UsageProblem
from reports.files import write_text
from reports.model import Result, Run, Verdict, plain

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FEATURES",
    "MESH",
    "Implementation",
    "conformance_report",
    "file_name",
    "version_found",
    "write_conformance_report",
]

MESH = "gateway-api"
"""The adapter that words every intent in Gateway API."""
VERSION, CHANNEL = "Gateway API", "Gateway API channel"
"""Names in a run's environment."""


@dataclass(frozen=True)
class Feature:
    """What a check is about in upstream's words."""

    profile: Literal["MESH-HTTP", "MESH-GRPC"]
    extended: tuple[str, ...] = ()
    """The extended features it needs; none: it is core. One extended feature makes a test extended, as upstream."""


FEATURES: Mapping[str, Feature] = {
    **{name: Feature("MESH-HTTP") for name in ("RT-02", "RT-07", "WT-01", "WT-02", "WT-05", "WT-08", "WT-09")},
    "RT-01": Feature("MESH-HTTP", ("MeshHTTPRouteQueryParamMatching",)),
    "RT-05": Feature("MESH-HTTP", ("MeshHTTPRouteRewritePath",)),
    "RT-06": Feature(
        "MESH-HTTP", ("MeshHTTPRouteRedirectPath", "MeshHTTPRouteRedirectPort", "MeshHTTPRouteSchemeRedirect")
    ),
    "RT-09": Feature("MESH-HTTP", ("MeshConsumerRoute",)),
    "WT-04": Feature("MESH-GRPC"),
}
"""Our check -> profile and level. Checks of anything that no mesh profile names are in no report of this kind."""


_CONTACTS = "a GitHub name such as @somebody, a team such as @team/name, a mail address or a URL"
_NAME = r"[A-Za-z0-9](?:[\w.-]*\w)?"
_CONTACT = re.compile(rf"@{_NAME}(?:/{_NAME})?|[^@\s]+@[^@\s]+\.[^@\s]+|https?://\S+")


@dataclass(frozen=True)
class Implementation:
    """Who made what was judged."""

    organization: str
    project: str
    url: str
    version: str
    contact: tuple[str, ...]

    def problem(self) -> str:
        """What upstream would refuse, in one sentence; "" if nothing."""
        for name in ("organization", "project", "url", "version"):
            if not getattr(self, name).strip():
                return f"the report needs {name}: upstream refuses one without"
        if re.search(r"[\s,]", self.version):
            return f"the version names the mesh's alone, as in v1.2.3, and not {self.version!r}"
        if not self.contact:
            return f"the report needs a contact: {_CONTACTS}"
        for one in self.contact:
            if not _CONTACT.fullmatch(one):
                return f"the contact {one!r} is none of these: {_CONTACTS}"
        if not self.url.startswith(("https://", "http://")):
            return f"url must be the address of a page, not {self.url!r}"
        return ""


def version_found(run: Run) -> str:
    """The mesh's own version as the run found it, "" where it did not: that of the definitions stands after it."""
    own, _, _ = run.mesh_version.partition(f"{VERSION} v")
    return own.rstrip(", ")


def conformance_report(run: Run, maker: Implementation, mode: str = "default") -> dict[str, Any]:
    """The run as a `ConformanceReport`. Raises `UsageProblem` where it cannot be one."""
    if run.mesh != MESH:
        raise UsageProblem(
            f"a Gateway API report speaks of routes of the Gateway API, and {run.mesh} was judged by its own kinds",
            fix=f"judge the mesh with --mesh {MESH}",
        )
    if problem := maker.problem():
        raise UsageProblem(problem, fix="give --organization, --project, --url, --mesh-version and --contact")
    missing = [name for name in (VERSION, CHANNEL) if not run.environment.get(name)]
    if missing:
        raise UsageProblem(f"the run does not say its {' and '.join(missing)}", fix="judge with this version again")
    found: dict[str, list[Result]] = {}
    for result in run.results:
        if feature := FEATURES.get(result.id):
            found.setdefault(feature.profile, []).append(result)
    if not found:
        raise UsageProblem("no check of a Gateway API profile was judged", fix="judge the profile full")
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ConformanceReport",
        "date": datetime.fromtimestamp(run.started, UTC).isoformat().replace("+00:00", "Z"),
        "gatewayAPIChannel": run.environment[CHANNEL],
        "gatewayAPIVersion": run.environment[VERSION],
        "implementation": {
            "contact": list(maker.contact),
            "organization": maker.organization,
            "project": maker.project,
            "url": maker.url,
            "version": maker.version,
        },
        "mode": mode,
        "profiles": [_profile(name, results) for name, results in sorted(found.items())],
    }


def _profile(name: str, results: Sequence[Result]) -> dict[str, Any]:
    core = [one for one in results if not FEATURES[one.id].extended]
    extended = [one for one in results if FEATURES[one.id].extended]
    judged = [one for one in extended if one.verdict is not Verdict.UNSUPPORTED]
    # What the run left out was skipped, whoever left it out: a part of a profile is no success.
    found = {one.id for one in results}
    absent = [one for one, feature in FEATURES.items() if feature.profile == name and one not in found]
    absent_core = [one for one in absent if not FEATURES[one].extended]
    absent_extended = [one for one in absent if FEATURES[one].extended]
    document: dict[str, Any] = {"core": _status(core, absent_core), "name": name}
    if extended or absent_extended:
        status = _status(judged, absent_extended)
        supported = {name for one in judged for name in FEATURES[one.id].extended}
        unsupported = {name for one in extended for name in FEATURES[one.id].extended} - supported
        for field, names in (("supportedFeatures", supported), ("unsupportedFeatures", unsupported)):
            if names:
                status[field] = sorted(names)
        document["extended"] = status
    document["summary"] = _summary(document)
    return document


def _status(results: Sequence[Result], absent: Sequence[str]) -> dict[str, Any]:
    """Counts; what neither passed nor failed was skipped, for nothing was shown, as was what is absent.

    The report has no words for a control, of which failures are expected: they are failures here.
    """
    failed = [one.id for one in results if one.verdict is Verdict.FAIL]
    passed = [one.id for one in results if one.verdict is Verdict.PASS]
    skipped = [*(one.id for one in results if one.id not in (*failed, *passed)), *absent]
    result = "failure" if failed else "partial" if skipped else "success"
    status: dict[str, Any] = {
        "result": result,
        "statistics": {"Failed": len(failed), "Passed": len(passed), "Skipped": len(skipped)},
    }
    if failed:
        status["failedTests"] = failed
    if skipped:
        status["skippedTests"] = skipped
    return status


def _summary(profile: Mapping[str, Any]) -> str:
    words = {
        "success": "succeeded",
        "partial": "partially succeeded with {Skipped} test skips",
        "failure": "failed with {Failed} test failures",
    }
    parts = [
        f"{level.capitalize()} tests {words[profile[level]['result']].format(**profile[level]['statistics'])}."
        for level in ("core", "extended")
        if level in profile
    ]
    return " ".join(parts)


def file_name(report: Mapping[str, Any]) -> str:
    """`<channel>-<version>-<mode>-report.yaml`, as upstream wants it."""
    version = str(report["implementation"]["version"]).replace("/", "-")
    return f"{report['gatewayAPIChannel']}-{version}-{report['mode']}-report.yaml"


def write_conformance_report(run: Run, directory: Path, maker: Implementation, mode: str = "default") -> Path:
    """Write the report; its path."""
    import yaml  # only this writer needs it

    report = plain(conformance_report(run, maker, mode))
    path = directory / file_name(report)
    write_text(path, yaml.safe_dump(report, sort_keys=True, allow_unicode=True, width=120))
    return path
