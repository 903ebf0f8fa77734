"""One run of the suite under pytest: what the cluster says, and what comes of it.

Three roles share this class: the only process, xdist's controller (which runs no check) and xdist's workers.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conformance.adapters import Adapter, Rendered
from conformance.catalogue import checks, ground_of
from conformance.dressing import Dressing, pull_secrets
from conformance.ground import Ground, space_name
from conformance.intents import MeshMtlsMode, Mode
from conformance.keeper import Keeper
from conformance.mesh_policies import withdraw_dead
from conformance.model import Check
from conformance.outage import Turns, restore
from conformance.runner import Options, Runner
from conformance.sweeping import sweep, sweep_dead
from conformance.tally import Tally
from conformance.usage import as_usage
from fixtures.interrupts import cleaning_up
from fixtures.kube import Kube
from fixtures.kube.errors import rights_permitting
from fixtures.kube.facts import facts
from reports.data_files import RESULTS, json_text
from reports.errors import EnvironmentProblem, MeshproofError, UsageProblem
from reports.files import write_text
from reports.model import JSON, Result, Run, Stage, result_to_json

__all__ = ["Session"]

UNBUILT = ":not-built-yet"


@dataclass(frozen=True)
class Facts:
    """What was found out about the cluster and the mesh."""

    cluster: str
    mesh_version: str
    environment: Mapping[str, str]


def _own_image() -> str:
    """The image of the workloads that this machine builds; nothing is downloaded or built to know its name."""
    from fixtures.images import known_reference

    reference = known_reference()
    if reference.endswith(UNBUILT):
        raise UsageProblem(
            "this machine has not built an image of the workloads yet",
            fix="name one that the cluster can pull with --image; `meshproof conformance` builds and loads one",
        )
    return reference


class Session:
    """See the module."""

    def __init__(
        self,
        adapter: Adapter,
        options: Options,
        *,
        kubeconfig: Path | None,
        context: str | None,
        worker: str,
        distributed: bool,
        runner: str,
        wait: bool,
        picked: Mapping[str, JSON],
        offered: int,
        before: Path | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.pid = os.getpid()
        self.adapter = adapter
        self._tell = tell
        self._before = before
        self.options = options
        self._where = (kubeconfig, context)
        self._worker = worker
        self._controller = distributed and not worker
        self._runner_name = runner
        self._wait = wait
        self._picked = picked
        self._offered = offered
        """How many checks the suite's own flags mean; pytest and its plugins may choose fewer."""
        self._kube: Kube | None = None
        self._runner: Runner | None = None
        self._keeper: Keeper | None = None
        self._wide: list[Ground] = []
        self._spaces: list[str] = []
        self._facts: Facts | None = None
        self._started = time.time()
        self._clock = time.monotonic()
        self._sweep_seconds = 0.0
        self._stuck: list[str] = []
        self._unswept = ""
        self._finished = False
        self.tally = Tally(options)
        self.problem = ""
        """Why the results could not be written."""

    # -- before ----------------------------------------------------------------------------------------------------

    def for_workers(self) -> dict[str, str]:
        """What every worker must know."""
        return {"run": self.options.run, "image": self.options.image, "runner": self._runner_name}

    def start(self) -> None:
        """Reach the cluster; where results come together also look whether the mesh is there."""
        if self._before is not None:
            self._tell(f"the report of an earlier run is kept in {self._before}")
        with as_usage():
            self._kube = Kube.connect(*self._where)
            if self._worker:
                return
            if not self.options.image:  # only now: whoever has no cluster to reach need not wait until it is known
                self.options = replace(self.options, image=_own_image())
            with rights_permitting():  # what a killed run left does no harm to this one
                sweep_dead(self._kube)
            self._give_back(self._kube)
            if problem := self.adapter.problem(self._kube):
                raise EnvironmentProblem(problem)
            self._facts = Facts(self._kube.host, self.adapter.version(self._kube), facts(self._kube))

    def prepare(self, asked: Sequence[Check]) -> None:
        """Create the grounds of the collected checks where results come together; the wide ones when they are due."""
        if self._kube is None or self._keeper is not None or not asked:
            return
        self.tally.ask(asked)
        settings = self.options.settings
        with as_usage():
            secrets_of_user = pull_secrets(self._kube, settings.pull_secrets)
        self._keeper = Keeper(
            self._kube,
            self.adapter,
            run=self.options.run,
            image=self.options.image,
            runner=self._runner_name,
            dressing=Dressing.of(settings, self.adapter),
            everywhere=secrets_of_user,
            tell=self._tell,
        )
        passed_over = {*self.options.excused, *self.options.spared}
        needed = dict.fromkeys(check.ground for check in asked if check.id not in passed_over)
        grounds = [ground_of(name) for name in needed]
        self._wide = [one for one in grounds if one.wide]
        self._spaces = [space_name(self.options.run, one.name, place.name) for one in grounds for place in one.places]
        if not self._worker:
            self._keeper.begin(one for one in grounds if not one.wide)
        if not self._controller:
            self._runner = Runner(self._kube, self.adapter, self.options, self._keeper)

    # -- while -----------------------------------------------------------------------------------------------------

    def result(self, check: Check) -> Result:
        """The verdict of a check."""
        if self._runner is None or self._keeper is None:
            raise RuntimeError("checks were not collected by pytest_collection_finish")
        if ground_of(check.ground).wide:
            # Last, and all given to this process: their pods start while it waits until no other check is judged.
            self._keeper.begin(self._wide)
        return self._runner.result(check)

    def for_report(self, check: Check) -> dict[str, Any] | None:
        """A check's result on its way to the controller; None where none was reached. Nothing is judged here."""
        result = self._runner.found(check) if self._runner is not None else None
        if self._runner is None or result is None:
            return None
        ground = check.ground
        return {
            "result": result_to_json(result),
            "ground": ground,
            "waited": self._runner.waited.get(ground, 0.0),
            "prepared": self._runner.prepared(ground),
        }

    def release(self, ground: str) -> None:
        """The ground is no longer needed."""
        if self._runner is not None:
            with contextlib.suppress(MeshproofError):  # the sweep at the end finds whatever is left
                self._runner.release(ground)

    # -- after -----------------------------------------------------------------------------------------------------

    def begin_to_end(self) -> None:
        """Write what there is and begin to delete the namespaces, where xdist is yet to wait for interrupted workers.

        It gives a busy one five seconds, and who ends a container ends it for good after ten.
        """
        if not self._controller or self._kube is None:
            return
        cleaning_up()
        self._write()
        if self._keeper is not None:
            self._keeper.close()
        with contextlib.suppress(MeshproofError):  # the sweep at the end tells what is left, and why
            sweep(self._kube, self.options.run, wait=False, known=self._spaces)

    def finish(self) -> None:
        """End port-forwards; where results come together sweep the cluster and write them. Twice is once.

        They are written before it, too: it takes its time, and whoever ends the run may not have it.
        """
        if self._finished:
            return
        self._finished = True
        cleaning_up()
        if self._runner is not None:
            self._runner.close()
        if self._keeper is not None:
            self._keeper.close()
        if self._worker or self._kube is None:
            return
        Turns(self.options.run).end()
        try:
            self._write()
        finally:  # a disk that is full, or an interrupt, leaves nothing in the cluster
            self._sweep(self._kube)
        self._write()

    def _sweep(self, kube: Kube) -> None:
        started = time.monotonic()
        if self._controller:
            # A worker that was ended in the midst of a check could not.
            with contextlib.suppress(MeshproofError):
                self._give_back(kube)
        try:
            self._stuck = sweep(kube, self.options.run, wait=self._wait, known=self._spaces)
        except MeshproofError as error:
            self._unswept = f"the namespaces of the run {self.options.run} are still there: {error.problem}"
        self._sweep_seconds = time.monotonic() - started

    def _give_back(self, kube: Kube) -> None:
        """The mesh as a whole, as it was before a check of a process that is gone: control plane, strictness."""
        restore(kube, self.adapter.control_plane())
        mesh_wide = self.adapter.render(MeshMtlsMode(Mode.STRICT))
        withdraw_dead(kube, mesh_wide.objects if isinstance(mesh_wide, Rendered) else ())

    def _write(self) -> None:
        """Write what was found out; where the disk refuses, the verdicts are still in the summary, and it says so."""
        if not self.tally:
            return
        try:
            write_text(self.results_file, json_text(self.run()))
        except MeshproofError as error:
            self.problem = error.problem

    def run(self) -> Run:
        """Everything found out, in the published model."""
        found = self._facts or Facts("", "", {})
        try:
            own = version("meshproof")
        except PackageNotFoundError:
            own = "unknown"
        results = self.tally.results()
        part: dict[str, JSON] = {}
        if len(results) < self._offered:  # which must not look like the whole, whoever left out the rest
            part["collected"] = f"{len(results)} of {self._offered} checks"
        return Run(
            mesh=self.options.mesh,
            mesh_version=found.mesh_version,
            cluster=found.cluster,
            environment={**found.environment, "image": self.options.image},
            started=self._started,
            seconds=time.monotonic() - self._clock,
            stages=(*self.tally.stages(), Stage("clean-up", self._sweep_seconds, problem=self._left())),
            results=results,
            options={
                **self._picked,
                **part,
                "alpha": self.options.alpha,
                "ignore_requires": self.options.ignore_requires,
            },
            product_version=own,
            catalogue=len(checks()),
        )

    @property
    def results_file(self) -> Path:
        """Where the results are written."""
        return self.options.report_dir / RESULTS

    @property
    def left_open(self) -> str:
        """What was asked for and is not proven, in a line, where results come together; "" where nothing is."""
        return "" if self._worker or not self.tally else self.run().left_open

    def _left(self) -> str:
        return f"namespaces not gone: {', '.join(self._stuck)}" if self._stuck else self._unswept
