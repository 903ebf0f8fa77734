"""What a user may change about a run without touching code: `--config FILE` and `--set key=value`, the latter wins.

    image: registry.example.com/meshproof:1.0
    pull-secrets: [ci/registry]          # copied into every namespace of the run
    pods: {labels: {}, annotations: {}, tolerations: [{key: dedicated, operator: Exists}], node-selector: {}}
    namespaces: {labels: {pod-security.kubernetes.io/enforce: privileged}, annotations: {}}
    timeouts: {in-force: 20, ground-ready: 120}
    cluster-domain: cluster.example      # where names of Services do not end in cluster.local
    uninstall: ./uninstall.sh -y         # for LC-06; run where the suite was started, or in `uninstall-in`
    mesh: {trust-domain: example.org}    # what the mesh's adapter takes

With `--set`, a key of the mesh stands alone: `--set trust-domain=example.org`, `--set pods.labels.team=net`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field

from conformance.adapters.settings import NamespacedName, Settings, kebab, settle
from conformance.limits import Limits
from fixtures.workloads.batch import MAX_SECONDS, MAX_TIMEOUT
from reports.errors import UsageProblem

__all__ = ["CLUSTER_DOMAIN", "Marks", "Pods", "RunSettings", "read_settings", "unsaid"]

CLUSTER_DOMAIN = "cluster.local"
_FREE_KEYS = {"labels", "annotations", "node-selector"}
"""Mappings whose keys are the user's own, and may contain dots."""
_OF_REQUESTS = ("probe", "request")
"""Limits of single requests, which the traffic client bounds by itself."""
_OWN_LABELS = ("app", "version", "meshproof.io/")


def _not_ours(labels: dict[str, str]) -> dict[str, str]:
    """Checks select pods and sweep namespaces by these."""
    if taken := [key for key in labels if key in _OWN_LABELS or key.startswith(_OWN_LABELS[-1])]:
        raise ValueError(f"{', '.join(taken)} is meshproof's own: choose another key")
    return labels


class Marks(Settings):
    """What is put on objects of the run besides what it needs itself."""

    labels: Annotated[dict[str, str], AfterValidator(_not_ours)] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Pods(Marks):
    """What is put on every pod of the run."""

    tolerations: tuple[dict[str, Any], ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that they may run on, besides that of Linux."""


def _known_limits(seconds: dict[str, float]) -> dict[str, float]:
    known = {kebab(one.name) for one in fields(Limits)}
    if strange := sorted(seconds.keys() - known):
        raise ValueError(f"there is no {', '.join(strange)}; known: {', '.join(sorted(known))}")
    if long := [name for name in _OF_REQUESTS if seconds.get(name, 0) > MAX_TIMEOUT]:
        raise ValueError(f"{', '.join(long)}: no request of ours waits longer than {MAX_TIMEOUT:g} seconds")
    return seconds


def _domain(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name):
        raise ValueError(f"{name!r} is no domain: give it as in {CLUSTER_DOMAIN}")
    return name


class RunSettings(Settings):
    """Everything of it."""

    image: str = ""
    pull_secrets: tuple[NamespacedName, ...] = ()
    """Secrets of type dockerconfigjson, `namespace/name`."""
    pods: Pods = Pods()
    namespaces: Marks = Marks()
    timeouts: Annotated[dict[str, Annotated[float, Field(gt=0, le=MAX_SECONDS)]], AfterValidator(_known_limits)] = (
        Field(default_factory=dict)
    )
    """Seconds, by the names of `conformance.limits.Limits`; none is longer than the traffic that waits for its end."""
    cluster_domain: Annotated[str, AfterValidator(_domain)] = CLUSTER_DOMAIN
    """The DNS domain of the cluster's Services."""
    uninstall: str = ""
    """Command that takes the mesh off the cluster, for LC-06; it finds the run's kubeconfig in KUBECONFIG."""
    uninstall_in: str = ""
    """The directory in which that command is run; without one, where the suite was started."""
    mesh: dict[str, Any] = Field(default_factory=dict)
    """For the adapter, which knows its own keys."""

    @property
    def limits(self) -> Limits:
        """The time limits, the user's where given."""
        return Limits(**{name.replace("-", "_"): value for name, value in self.timeouts.items()})


def read_settings(file: Path | None, assignments: Sequence[str]) -> RunSettings:
    """The settings of a run. `UsageProblem` has one sentence for each thing that is wrong."""
    found = _found(file, assignments)
    return settle(RunSettings, found, "the run" if file is None else f"the run in {file}")


def unsaid(proposed: Sequence[str], file: Path | None, assignments: Sequence[str]) -> tuple[str, ...]:
    """Those of the proposed assignments about whose keys neither the file nor an assignment of the user's says a thing.

    `UsageProblem` where the file or an assignment cannot be read.
    """
    said = _found(file, assignments)
    return tuple(one for one in proposed if not _has(said, _path(one.partition("=")[0])))


def _has(found: Any, path: Sequence[str]) -> bool:
    if not path:
        return True
    return isinstance(found, dict) and path[0] in found and _has(found[path[0]], path[1:])


def _found(file: Path | None, assignments: Sequence[str]) -> dict[str, Any]:
    """What the user says, not yet looked at."""
    found: dict[str, Any] = _file(file) if file is not None else {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not (key.strip() and equals):
            raise UsageProblem(f"--set {assignment} is no key=value", fix="as in --set trust-domain=example.org")
        _put(found, _path(key.strip()), _value(text))
    return found


def _file(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{file} cannot be read: {error}", fix="give --config a YAML file") from error
    except yaml.YAMLError as error:
        raise UsageProblem(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageProblem(f"{file} holds no mapping", fix="see the README, section on settings")
    return content


def _path(key: str) -> list[str]:
    """The place that a key of `--set` names. What is none of the run's own words belongs to the mesh."""
    words = key.split(".")
    if words[0] not in {kebab(name) for name in RunSettings.model_fields}:
        return ["mesh", key]
    if len(words) > 2 and words[1] in _FREE_KEYS:
        return [words[0], words[1], ".".join(words[2:])]
    return words


def _value(text: str) -> Any:
    """Lists and mappings in YAML's flow style; everything else is text, and its field knows what to make of it."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageProblem(f"--set …={text} is not valid YAML: {' '.join(str(error).split())}") from error


def _put(found: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *way, last = path
    here = found
    for step in way:
        inner = here.setdefault(step, {})
        if not isinstance(inner, dict):
            raise UsageProblem(f"--set {'.'.join(path)}: {step} is no mapping in the file")
        here = inner
    here[last] = value
