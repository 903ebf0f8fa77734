"""What an uninstalled mesh left behind, and the judge of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.checks.injection import Behaviour
from conformance.farewell import Ended
from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import Evidence

__all__ = ["Uninstalled", "judge_uninstalled"]


@dataclass(frozen=True)
class Uninstalled:
    """A pod of a namespace that opted in before and after, and what in the cluster leads to the mesh."""

    before: Behaviour
    webhooks: tuple[str, ...]
    """That asked the control plane before."""
    marks: tuple[str, ...]
    """Labels that the mesh had put on the pod."""
    ended: Ended
    left: tuple[str, ...]
    """Webhooks that still ask in the control plane's namespace, and rights that its account still has."""
    after: Behaviour | None
    """The pod that took the other's place; None where none came."""
    marks_after: tuple[str, ...]
    waits: str = ""
    """Where no pod took its place: what the new one waits for; "" where it runs, or was not let in at all."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        facts = Evidence(
            "uninstalled",
            {
                "webhooks before": list(self.webhooks),
                "labels on the pod before": list(self.marks),
                "exit code": self.ended.code,
                "said": self.ended.said,
                "left in the cluster": list(self.left),
                "labels on the pod after": list(self.marks_after),
                "a new pod waits for": self.waits,
            },
        )
        return (facts, self.before.evidence, *([self.after.evidence] if self.after else []))


def judge_uninstalled(history: Uninstalled) -> Judgement:
    """The mesh was there, and neither the cluster nor a new pod shows a trace of it."""
    before, after, evidence = history.before, history.after, history.evidence
    if not before.peers:
        return inconclusive("no answer came from the pod before", *evidence)
    if not before.added or not before.proxied:
        return failed("there was no proxy before: nothing was taken away", *evidence)
    if not history.ended.started:
        return inconclusive(f"the command to uninstall it could not be started: {history.ended.said}", *evidence)
    if history.ended.code:
        said = history.ended.said.splitlines()[-1:] or ["it said nothing"]
        return failed(f"uninstalling ended with exit code {history.ended.code}: {said[0]}", *evidence)
    if history.left:
        return failed(f"left behind: {', '.join(history.left)}", *evidence)
    if after is None and history.waits:
        return inconclusive(f"no new pod has started yet: {history.waits}", *evidence)
    if after is None:
        return failed("no pod starts any more in a namespace that had opted in", *evidence)
    if after.added:
        return failed(f"a new pod still gets containers: {', '.join(after.added)}", *evidence)
    if not after.peers:
        return failed("a new pod cannot be reached", *evidence)
    if after.proxied:
        return failed("somebody still stands in the network path of a new pod", *evidence)
    if history.marks_after:
        return failed(f"a new pod still gets labels: {', '.join(history.marks_after)}", *evidence)
    gone = len(history.webhooks)
    return passed(f"{gone} webhook configurations are gone, and a new pod is as its author wrote it", *evidence)
