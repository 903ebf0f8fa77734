"""The suite's flags: each by a name that nobody else has, `--mesh-only`, and by a short one where that is free.

Every pytest of a machine that has the product installed reads this. So only runs that ask for the suite get the short
names, and after everybody else, conftest files included: whoever has one already keeps it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["add_flags", "add_short_names", "asks", "uses_short_names", "without_values"]

OWN = "--mesh"
"""How the names begin that nobody else has."""
HELP = ("-h", "--help")
SUITE = "conformance"


@dataclass(frozen=True)
class Flag:
    """One flag."""

    name: str
    how: Mapping[str, Any] = field(default_factory=dict)
    """What `addoption` is told of it."""
    long: str = ""
    """"" is `--mesh-NAME`."""

    @property
    def names(self) -> tuple[str, str]:
        """The one it always has, and the short one."""
        return self.long or f"{OWN}-{self.name}", f"--{self.name}"

    @property
    def options(self) -> dict[str, Any]:
        """What both names are added with: their value is the same one."""
        return {**self.how, "dest": self.names[0].removeprefix("--").replace("-", "_")}


def _flag(name: str, text: str, long: str = "", **how: Any) -> Flag:
    return Flag(name, {"help": text, **how}, long)


FLAGS = (
    _flag("mesh", "the mesh to judge; `none` is the negative control", f"{OWN}-name", metavar="NAME"),
    _flag("kubeconfig", "kubeconfig of the cluster (default: as kubectl)", metavar="FILE", type=Path),
    _flag("context", "context of the kubeconfig", metavar="NAME"),
    _flag(
        "profile",
        "part of the catalogue that is judged: full (the default: pytest runs what there is), headline (what"
        " `meshproof run` judges), core, extended, or one capability such as routing",
        metavar="NAME",
        default="full",
    ),
    _flag("only", "checks or groups to run, such as WT,CB-01", metavar="IDS", default=""),
    _flag("skip", "checks or groups to leave out", metavar="IDS", default=""),
    _flag(
        "features",
        "what the mesh claims to offer (default: everything); checks of anything else are reported as unsupported",
        metavar="NAMES",
        default="",
    ),
    _flag(
        "exempt",
        "features, groups or checks that are not held against the mesh; the report says so",
        metavar="NAMES",
        default="",
    ),
    _flag(
        "disruptive",
        "also judge what disturbs the mesh as a whole: its control plane is replaced and stopped for seconds, its"
        " root certificate changed, all of it made strict for seconds",
        action="store_true",
    ),
    _flag("seed", "judge in an order drawn with this seed (default: the catalogue's order)", metavar="N", type=int),
    _flag("list", "list the checks that would be judged, and end", action="store_true"),
    _flag("dry-run", "say what would be created and judged, without a cluster, and end", action="store_true"),
    _flag(
        "rerun-failed",
        "only what failed or stayed open in an earlier report: its directory, results.json or bundle",
        metavar="PATH",
        type=Path,
    ),
    _flag(
        "set",
        "a setting of the mesh (trust-domain=example.org) or of the run (pods.labels.team=net); may be repeated",
        metavar="KEY=VALUE",
        action="append",
        default=[],
    ),
    _flag("config", "the same settings, in a YAML file", metavar="FILE", type=Path),
    _flag("image", "image of the workloads (default: this product's own)", metavar="REF"),
    _flag(
        "report-dir",
        "results.json and bundles; those of an earlier run are kept in its folder before",
        metavar="DIR",
        type=Path,
        default=Path("meshproof-report"),
    ),
    _flag("alpha", "probability of a false alarm per check (default 1e-5)", metavar="P", type=float, default=1e-5),
    _flag("no-wait", "delete the namespaces at the end without waiting until they are gone", action="store_true"),
    _flag(
        "ignore-requires",
        "judge every check on its own, even where a requirement failed: the sharper negative control",
        action="store_true",
    ),
)


def _group(parser: pytest.Parser) -> Any:
    return parser.getgroup("meshproof", "service-mesh conformance")


def add_flags(parser: pytest.Parser) -> None:
    """Each flag by the name that it always has."""
    for one in FLAGS:
        _group(parser).addoption(one.names[0], **one.options)


def add_short_names(parser: pytest.Parser) -> None:
    """Each flag by its short name too, but for those that somebody else has taken."""
    # Asked for first: before its version 9, pytest itself does not notice until it is too late.
    groups = [parser._anonymous, *parser._groups]  # noqa: SLF001 - there is no other way to ask
    taken = {name for group in groups for option in group.options for name in option.names()}
    for one in FLAGS:
        if one.names[1] in taken:
            continue
        with contextlib.suppress(ValueError, argparse.ArgumentError):
            _group(parser).addoption(one.names[1], **one.options)


def asks(arguments: Iterable[str]) -> bool:
    """Whether a command line is about the suite: it names a mesh, or the suite as a package, or asks for help."""
    given = tuple(map(str, arguments))
    if any(one.startswith("@") for one in given):  # a file with arguments, which pytest has yet to read
        return True
    by_name = "--pyargs" in given and any(one == SUITE or one.startswith(f"{SUITE}.") for one in given)
    return by_name or any(one in HELP or one.startswith(OWN) for one in given)


def uses_short_names(arguments: Iterable[str]) -> bool:
    """Whether a short name is used without asking for the suite, as in a project's `addopts`."""
    short = {one.names[1] for one in FLAGS}
    return any(str(one).partition("=")[0] in short for one in arguments)


def without_values(paths: Iterable[str], arguments: Sequence[str]) -> list[str]:
    """What pytest took for paths of tests before it knew the short names, less the values of those."""
    valued = {one.names[1] for one in FLAGS if one.how.get("action") != "store_true"}
    values = [value for name, value in itertools.pairwise(arguments) if name in valued]
    left = []
    for path in paths:
        if path in values:
            values.remove(path)
        else:
            left.append(path)
    return left
