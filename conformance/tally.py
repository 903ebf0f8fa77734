"""Where the results of a run come together: what every check that was asked for has come to, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conformance.catalogue import select
from conformance.model import Check
from conformance.outcomes import is_unreached, passed_over, unreached, without_verdict, worker_died
from conformance.runner import Options
from conformance.scheduling import scope_of
from reports.model import Result, Stage, result_from_json

__all__ = ["PREPARING", "Tally"]

PREPARING = "preparing"
"""First word of the stage in which a ground got what its checks share, such as the routes that stand on it."""


class Tally:
    """Every check that is asked for has a result, also where a run ends early: what is missing looks like nothing."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._asked: dict[str, Check] = {}
        self._judged: dict[str, Result] = {}
        self._lost: dict[str, Result] = {}
        """Of checks that came to no verdict, by id: why not."""
        self._waited: dict[str, float] = {}
        self._prepared: dict[str, float] = {}
        self.ended = ""
        """Why pytest came to an end before it had asked for every check."""

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return bool(self._asked)

    def ask(self, checks: Iterable[Check]) -> None:
        """These are to be judged."""
        self._asked = {one.id: one for one in checks}

    def gather(self, found: dict[str, Any]) -> None:
        """A result has come in."""
        result = result_from_json(found["result"])
        self._judged[result.id] = result
        for seconds, name in ((self._waited, "waited"), (self._prepared, "prepared")):
            seconds[found["ground"]] = max(found[name], seconds.get(found["ground"], 0.0))

    def lose(self, name: str, why: str) -> None:
        """The item of a check failed around it, so that it has come to no verdict."""
        if check := self._asked.get(name):
            lost = passed_over(self._options, check) or without_verdict(self._options, check, why)
            self._lost.setdefault(name, lost)

    def lose_worker(self, name: str) -> None:
        """The process that judged a check has died, and left its ground as it was in the midst of that."""
        if (check := self._asked.get(name)) is None or name in self._judged:
            return
        self._lost[name] = worker_died(self._options, check)
        for one in self._asked.values():
            if scope_of(one) == scope_of(check):
                self.lose(one.id, f"a worker died while it judged {name}, and what that left on the ground is unknown")

    def results(self) -> tuple[Result, ...]:
        """Of every check that was asked for, in the catalogue's order."""
        missing = {one.id: unreached(self._options, one, self.ended) for one in self._asked.values()}
        order = {one.id: i for i, one in enumerate(select())}
        every = {**missing, **self._lost, **self._judged}
        return tuple(sorted(every.values(), key=lambda one: order.get(one.id, 0)))

    def stages(self) -> tuple[Stage, ...]:
        """What was judged on each ground, and the sign of an end before the end."""
        grounds = {one.id: one.ground for one in select()}
        stages = []
        for name, waited in self._waited.items():
            of_ground = [one for one in self._judged.values() if grounds.get(one.id) == name]
            seconds = sum(one.seconds for one in of_ground)
            detail = f"{len(of_ground)} checks {seconds:.1f} s, waited {waited:.1f} s for pods"
            stages.append(Stage(f"checks {name}", waited + seconds, detail))
            if prepared := self._prepared.get(name):
                stages.append(Stage(f"{PREPARING} {name}", prepared, "what its checks share"))
        if left := sum(map(is_unreached, self.results())):
            stages.append(Stage("judging", 0.0, f"{left} checks not reached", problem=self.ended or "it ended early"))
        return tuple(stages)
