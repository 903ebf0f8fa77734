"""Runs checks: requirements first, then collect, judge, and keep a bundle of what did not pass."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conformance.adapters import Adapter
from conformance.bundle import write_bundle
from conformance.catalogue import checks, ground_of
from conformance.context import Context
from conformance.dressing import Dressing
from conformance.farewell import Farewell
from conformance.ground import nobody_joins, space_name
from conformance.keeper import Keeper
from conformance.mesh_policies import expect_own_policies
from conformance.model import Check, Judgement, inconclusive
from conformance.outage import Turns
from conformance.outcomes import as_result, passed_over, without_verdict
from conformance.pulse import excused
from conformance.settings import RunSettings
from conformance.stalls import Watch, standstill
from conformance.trouble import Trouble
from fixtures.kube import Kube
from reports.errors import MeshproofError
from reports.model import Evidence, Result, Verdict

__all__ = ["Options", "Runner", "judged"]

OUTSIDE = "no workload opted in to the mesh"
"""Evidence beside a failure where that is so: what to set is in its detail."""


@dataclass(frozen=True)
class Options:
    """What one run of the suite is asked for."""

    mesh: str
    run: str
    """Short id: part of every namespace's name."""
    image: str
    report_dir: Path
    alpha: float = 1e-5
    ignore_requires: bool = False
    """Judge every check on its own, even where a requirement failed: the sharper negative control."""
    excused: Mapping[str, str] = field(default_factory=dict)
    """Id -> why a check is not held against the mesh: it is unsupported by declaration, and its body does not run."""
    spared: Mapping[str, str] = field(default_factory=dict)
    """Id -> why the mesh is not put to a check: it is left out, and its body does not run."""
    settings: RunSettings = field(default_factory=RunSettings)
    farewell: Farewell | None = None
    """What takes the mesh off the cluster, where a check may."""
    reproduce: str = ""
    """The command line that runs one check again; `{id}` stands for its id."""


class Runner:
    """Checks of one process. A check is evaluated once for each ground it is asked for on."""

    def __init__(self, kube: Kube, adapter: Adapter, options: Options, keeper: Keeper) -> None:
        self.kube = kube
        self.adapter = adapter
        self.options = options
        self.keeper = keeper
        self.waited: dict[str, float] = {}
        """Seconds that each ground was waited for."""
        self._contexts: dict[str, Context | MeshproofError] = {}
        self._results: dict[tuple[str, str], Result] = {}
        self._by_id = {one.id: one for one in checks()}
        self._turns = Turns(options.run)
        self._watch = Watch()
        self._watch.start()

    def result(self, check: Check) -> Result:
        """The verdict of a check on its own ground. One that touches the whole mesh waits for all others."""
        self._turns.take(alone=ground_of(check.ground).wide)
        return self._evaluate(check, check.ground)

    def found(self, check: Check) -> Result | None:
        """The verdict of a check on its own ground, if it has been reached."""
        return self._results.get((check.id, check.ground))

    def prepared(self, ground: str) -> float:
        """Seconds that went into what the checks of a ground share."""
        context = self._contexts.get(ground)
        return context.prepared if isinstance(context, Context) else 0.0

    def release(self, ground: str) -> None:
        """No more checks will be asked for on a ground."""
        context = self._contexts.pop(ground, None)
        if isinstance(context, Context):
            context.close()
        self.keeper.release(ground_of(ground))

    def close(self) -> None:
        """End every port-forward."""
        self._watch.close()
        self._turns.close()
        for context in self._contexts.values():
            if isinstance(context, Context):
                context.close()
        self._contexts.clear()

    def _context(self, name: str) -> Context:
        """The ground's context; its pods are Ready. Raises the same problem to every check of the ground."""
        found = self._contexts.get(name)
        if found is None:
            started = time.monotonic()
            try:
                self.keeper.ensure(ground_of(name))
                options = self.options
                meshed = (one.name for one in ground_of(name).places if one.meshed)
                expect_own_policies(self.kube, self.adapter, (space_name(options.run, name, one) for one in meshed))
                found = Context(
                    self.kube,
                    self.adapter,
                    ground_of(name),
                    run=options.run,
                    image=options.image,
                    alpha=options.alpha,
                    dressing=Dressing.of(options.settings, self.adapter),
                    farewell=options.farewell,
                    domain=options.settings.cluster_domain,
                )
            except MeshproofError as error:
                found = error
            self.waited[name] = time.monotonic() - started
            self._contexts[name] = found
        if isinstance(found, MeshproofError):
            raise found
        return found

    def _evaluate(self, check: Check, ground: str) -> Result:
        key = (check.id, ground)
        if key not in self._results:
            started = time.time()
            try:
                self._results[key] = self._run(check, ground)
            except BaseException as error:
                # A limit of somebody's plugin, or an interrupt. Once begun it is not begun again, as a requirement
                # of another check either.
                why = f"it was ended before it had a verdict: {type(error).__name__}: {error}".removesuffix(": ")
                self._results[key] = without_verdict(self.options, check, why, started, time.time() - started)
                raise
        return self._results[key]

    def _unmet(self, check: Check, ground: str) -> Judgement | None:
        """What follows of the first requirement that did not pass; None if all did.

        What the mesh declares that it cannot do, it need not pass: a check that builds on it is unsupported as well.
        But a mesh without sidecars is judged all the same by the checks that only ask for the proxy in general.
        """
        for required in check.requires:
            one = self._by_id[required]
            result = self._evaluate(one, ground if one.anywhere else one.ground)
            if result.verdict is Verdict.PASS or (one.anywhere and result.verdict is Verdict.UNSUPPORTED):
                continue
            verdict = Verdict.UNSUPPORTED if result.verdict is Verdict.UNSUPPORTED else Verdict.NOT_RUN
            why = f"requires {required} ({one.title}), whose verdict is {result.verdict}: {result.reason}"
            return Judgement(verdict, why)
        return None

    def _run(self, check: Check, ground: str) -> Result:
        if skipped := passed_over(self.options, check, time.time()):
            return skipped
        context: Context | None = None
        history: object = None
        problem: Exception | None = None
        wall = time.time()
        started, prepared = time.monotonic(), 0.0
        try:
            context = self._context(ground)
            wall, started, prepared = time.time(), time.monotonic(), context.prepared
            unmet = None if self.options.ignore_requires else self._unmet(check, ground)
            if unmet is not None:
                judgement = unmet
            else:
                context.begin()
                history = check.collect(context)
                judgement = judged(check.judge, history)
        except Exception as error:  # noqa: BLE001 - a check that crashes has no verdict, and the run goes on
            problem, history = error, Trouble.of(error)
            judgement = history.judgement
        seconds = time.monotonic() - started if context is not None else 0.0
        if context is not None:
            seconds -= context.prepared - prepared  # none of the check's that came first
        stall = self._stall(context) if judgement.verdict is Verdict.FAIL and context is not None else 0.0
        judgement = excused(judgement, stall, 0.0)
        result = as_result(self.options, check, judgement, wall, seconds)
        if result.verdict is Verdict.FAIL and (why := nobody_joins(self.adapter)):
            result = replace(result, evidence=(*result.evidence, Evidence(OUTSIDE, why)))
        if result.verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE} and ground == check.ground:
            kept = self._keep(context, result, history, problem, stall)
            result = replace(result, evidence=(*result.evidence, kept))
        if context is not None:
            with contextlib.suppress(MeshproofError):  # what is left goes with the ground; this check has been judged
                context.tidy()
        return result

    def _keep(
        self, context: Context | None, result: Result, history: object, problem: Exception | None, stall: float
    ) -> Evidence:
        """Where the bundle is. One that cannot be written costs no verdict: why not is evidence as well."""
        try:
            return Evidence(
                "bundle", str(write_bundle(self.options.report_dir, context, result, history, problem, stall))
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the check has been judged
            said = error.problem if isinstance(error, MeshproofError) else f"{type(error).__name__}: {error}"
            return Evidence("no whole bundle", said)

    def _stall(self, context: Context) -> float:
        """How long this process or a pod of the check got no processor meanwhile, seconds; 0 where that matters not."""
        return standstill((*context.stalls(), *self._watch.stalls()), context.windows)


def judged(judge: Callable[[Any], Judgement], history: object) -> Judgement:
    """The verdict on a history, or on why there is none. A judge that crashes gives no verdict."""
    if isinstance(history, Trouble):
        return history.judgement
    try:
        return judge(history)
    except Exception as error:  # noqa: BLE001 - whatever a judge stumbles over, the verdict is unknown
        return inconclusive(f"the judge itself failed: {type(error).__name__}: {error}")
