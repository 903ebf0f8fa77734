"""What a run will do, decided before it does anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reports.choice import choose
from reports.errors import UsageProblem
from reports.model import Result

__all__ = ["CLUSTERS", "NONE", "REFMESH", "Known", "Options", "Plan", "Selection", "make_plan", "select"]

CLUSTERS = ("embedded", "kind", "existing")
KINDS = ("conformance", "chaos", "latency")
"""Checks, experiments and measurements, as users ask for all of them."""
NONE = "none"
REFMESH = "refmesh"


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    mesh: str = REFMESH
    cluster: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    report_dir: Path = Path("meshproof-report")
    keep_cluster: bool = False
    defect: str | None = None
    image: str | None = None
    workers: int | None = None
    yes: bool = False
    features: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()
    rerun_failed: Path | None = None
    again: tuple[str, ...] | None = None
    """Ids that `rerun_failed` names."""
    seed: int | None = None
    alpha: float | None = None
    """Probability of a false alarm per conformance check; None: the suite's own."""
    disruptive: bool = False
    """Whether a mesh that was there before may be disturbed as a whole."""
    install: bool = True
    """Whether refmesh is installed where it is not there."""
    config: Path | None = None
    """File with settings of the mesh and the run."""
    assignments: tuple[str, ...] = ()
    """The same, `key=value` each; they win."""
    profile: str = ""
    """The part of the conformance checks to judge; "": the default one, or whatever `only` names."""

    @property
    def existing(self) -> bool:
        """Whether they name a cluster that exists."""
        return self.kubeconfig is not None or self.context is not None or self.cluster == "existing"


@dataclass(frozen=True)
class Known:
    """What there is to ask for."""

    checks: Mapping[str, str]
    """Id -> group of every check."""
    experiments: Sequence[str]
    measurements: Sequence[str]
    titles: Mapping[str, str] = field(default_factory=dict)
    """Id -> title of all of them."""
    profiles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name -> ids of the checks of every profile."""
    excused: Mapping[str, str] = field(default_factory=dict)
    """Id -> reason of the checks that the user's features and exemptions excuse."""
    installable: frozenset[str] = frozenset()
    """Meshes of others that a new cluster can be given."""
    disruptive: frozenset[str] = frozenset()
    """Ids of the checks and experiments that disturb the mesh as a whole."""
    last: frozenset[str] = frozenset()
    """Ids of the checks that take the mesh away: judged alone, and with the command for that."""
    farewell: bool = False
    """Whether the user has given that command."""
    blank: Mapping[str, Result] = field(default_factory=dict)
    """Id -> what is known of a check before it is judged: level, features, requirements, reference."""
    default_profile: str = ""
    """The profile of a run whose user names none; "": every check."""


@dataclass(frozen=True)
class Selection:
    """What was asked for, in the catalogues' order."""

    checks: tuple[str, ...]
    experiments: tuple[str, ...]
    measurements: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """All of it."""
        return (*self.checks, *self.experiments, *self.measurements)


@dataclass(frozen=True)
class Plan:
    """What will be done."""

    options: Options
    selection: Selection
    provider: str
    create: bool
    """Whether the run makes a cluster of its own, and deletes it afterwards."""
    build_image: bool
    workers: int
    excused: tuple[str, ...] = ()
    """Ids of the selected checks that are unsupported by declaration."""
    spared: Mapping[str, str] = field(default_factory=dict)
    """Id -> why it is left out: it disturbs the mesh as a whole, or takes it away, and nobody asked for that."""
    profile: str = ""
    """The profile that says which checks are judged; "": none does, but other flags."""

    @property
    def disruptive(self) -> bool:
        """Whether the mesh may be disturbed as a whole."""
        return self.create or self.options.disruptive

    @property
    def installs_mesh(self) -> bool:
        """Whether the run installs refmesh; on a cluster that exists other meshes are expected to be there."""
        return self.options.mesh == REFMESH and self.options.install

    def lines(self) -> list[tuple[str, str]]:
        """The plan for people: stage, what it does."""
        options, chosen = self.options, self.selection
        where = f" from {options.kubeconfig}" if options.kubeconfig else ""
        context = f", context {options.context}" if options.context else ""
        cluster = (
            f"create {'a kind' if self.provider == 'kind' else 'an embedded'} cluster"
            if self.create
            else f"use the existing cluster{where}{context}"
        )
        if not self.build_image:
            image = f"use {options.image}"
        elif self.create:
            image = "build or take from the cache, and load"
        else:
            image = (
                "what its nodes have; else build and load it, which takes a cluster that meshproof or kind made here"
            )
        if options.mesh == NONE:
            mesh = "install nothing: the negative control"
        elif self.create and options.mesh != REFMESH:
            mesh = f"build or take from the cache, and install {options.mesh}"
        elif self.installs_mesh:
            mesh = f"install refmesh{f' with the defect {options.defect}' if options.defect else ''}"
        else:
            mesh = f"expect {options.mesh} to be installed"
        excused = f"; unsupported by declaration: {', '.join(self.excused)}" if self.excused else ""
        why: dict[str, list[str]] = {}
        for one, reason in self.spared.items():
            why.setdefault(reason, []).append(one)
        spared = [("left out", f"{', '.join(ids)}: {reason}") for reason, ids in why.items()]
        keep = "keep the cluster" if options.keep_cluster else "delete the cluster"
        return [
            ("preflight", "options, report directory, machine"),
            ("cluster", cluster),
            ("image", image),
            ("mesh", mesh),
            (
                "conformance",
                f"{_count(chosen.checks, 'check')}, {self.workers} at a time{excused}" if chosen.checks else "nothing",
            ),
            ("chaos", _count(chosen.experiments, "experiment")),
            ("latency", _count(chosen.measurements, "measurement")),
            *spared,
            ("report", str(options.report_dir)),
            ("clean-up", keep if self.create else "remove what the run installed"),
        ]


def _spared(selection: Selection, known: Known, *, allowed: bool) -> dict[str, str]:
    """What is left out of a selection, with the reason; `allowed`: the mesh may be disturbed as a whole."""
    from conformance.selection import left_out  # nothing of the suite is loaded for a command's --help

    alone = known.farewell and len(selection.checks) == 1
    return left_out(selection.ids, last=known.last, disturbing=known.disruptive, alone=alone, disruptive=allowed)


def _count(ids: Sequence[str], what: str) -> str:
    if not ids:
        return "nothing"
    return f"{len(ids)} {what}{'s' if len(ids) > 1 else ''}: {', '.join(ids)}"


def select(
    known: Known,
    only: Sequence[str],
    skip: Sequence[str],
    profile: str = "",
    again: Sequence[str] | None = None,
) -> Selection:
    """What `only` and `skip` leave: ids, check groups (`WT`), or `conformance`, `chaos`, `latency`, in any case.

    A check or group that `only` names is judged whatever the default profile holds; with a `profile` of the user's own
    choice, `only` picks among its checks. `again` are the ids of an earlier run that alone are judged, whatever their
    profile. Raises `UsageProblem` for an unknown word, or when nothing is left.
    """
    named = choose(profile.lower(), known.profiles, "profile") if profile else known.default_profile
    of_profile = set(known.profiles[named]) if named else set(known.checks)
    checks = tuple(one for one in known.checks if one in of_profile)
    kinds = dict(zip(KINDS, (checks, tuple(known.experiments), tuple(known.measurements)), strict=True))
    meaning: dict[str, tuple[str, ...]] = {}
    for group in dict.fromkeys(known.checks.values()):
        meaning[group] = tuple(one for one, its in known.checks.items() if its == group)
    meaning |= {one: (one,) for one in (*known.checks, *known.experiments, *known.measurements)}
    meaning |= kinds
    every_id = {one for ids in kinds.values() for one in ids}
    wanted = _expand(meaning, only) if only else every_id if again is None else set(meaning)
    if again is not None:
        wanted &= set(again)
    if profile:
        wanted -= set(known.checks) - of_profile
    wanted -= _expand(meaning, skip)
    if not wanted:
        of = f" of the profile {named}" if profile else ""
        what = "--only and --skip leave" if again is None else "the flags and the earlier run leave"
        raise UsageProblem(f"{what} nothing{of} to judge", fix="see `meshproof list checks`")
    every = (tuple(known.checks), tuple(known.experiments), tuple(known.measurements))
    return Selection(*(tuple(one for one in ids if one in wanted) for ids in every))


def _expand(meaning: Mapping[str, tuple[str, ...]], words: Sequence[str]) -> set[str]:
    names = {name.lower(): name for name in meaning}
    found: set[str] = set()
    for word in words:
        name = names.get(word.lower()) or choose(
            word, meaning, "check, experiment or measurement", "see `meshproof list checks` and `list experiments`"
        )
        found.update(meaning[name])
    return found


def make_plan(options: Options, known: Known, meshes: Sequence[str], default_provider: str, cores: int) -> Plan:
    """The plan for `options`. Raises `UsageProblem` where they contradict each other or name what there is not."""
    choose(options.mesh, meshes, "mesh")
    if options.cluster is not None:
        choose(options.cluster, CLUSTERS, "kind of cluster")
    given = options.kubeconfig is not None or options.context is not None
    if given and options.cluster not in (None, "existing"):
        raise UsageProblem(
            f"--kubeconfig and --context name an existing cluster, but --cluster is {options.cluster}",
            fix="leave one of them out",
        )
    provider = "existing" if given else options.cluster or default_provider
    create = provider != "existing"
    if create and options.mesh not in (REFMESH, NONE, *known.installable):
        raise UsageProblem(
            f"{options.mesh} is judged where it is installed, and a new {provider} cluster has no mesh",
            fix="name its cluster with --kubeconfig or --context",
        )
    if options.defect is not None and options.mesh != REFMESH:
        raise UsageProblem("--defect is for refmesh only", fix="leave it out or take --mesh refmesh")
    if options.keep_cluster and not create:
        raise UsageProblem("--keep-cluster makes no sense for an existing cluster", fix="leave it out")
    if options.workers is not None and options.workers < 1:
        raise UsageProblem(f"--workers must be at least 1, not {options.workers}", fix="leave it out")
    if options.alpha is not None:
        from conformance.selection import expect_error_rate  # nothing of the suite is loaded for a command's --help

        expect_error_rate(options.alpha)
    selection = select(known, options.only, options.skip, options.profile, options.again)
    if options.mesh == NONE and not options.only:
        # The negative control asks whether checks can fail; without a mesh there is nothing to break or to measure.
        selection = Selection(selection.checks, (), ())
        if not selection.checks:
            raise UsageProblem("--skip leaves nothing to judge", fix="skip less")
    spared = {} if options.mesh == NONE else _spared(selection, known, allowed=create or options.disruptive)
    selection = Selection(
        *(tuple(one for one in ids if one not in spared)
          for ids in (selection.checks, selection.experiments, selection.measurements))
    )  # fmt: skip
    if not selection.ids:
        problem, _, fix = next(iter(spared.values())).partition(": ")
        raise UsageProblem(f"nothing is left to judge but {', '.join(spared)}, and {problem}", fix=fix)
    workers = options.workers or max(1, min(4, cores * 2, len(selection.checks)))
    excused = tuple(one for one in selection.checks if one in known.excused)
    profile = _profile(options, known, selection)
    return Plan(options, selection, provider, create, options.image is None, workers, excused, spared, profile)


def _profile(options: Options, known: Known, selection: Selection) -> str:
    """The profile in force: the user's, or the default one where no check, group or earlier run is named."""
    named = {one.lower() for one in options.only}.difference(KINDS)
    default = known.default_profile if selection.checks and not named and options.again is None else ""
    return options.profile.lower() or default
