"""What ended a collection before there was a history, as a value that a bundle keeps and that is judged like one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conformance.context import NotExpressible, NotInForce, Refused
from conformance.model import Judgement, failed, inconclusive
from conformance.probes import Probed, table
from fixtures.kube import ApiProblem
from reports.errors import MeshproofError
from reports.model import Evidence, Verdict

__all__ = ["LAST_SEEN", "Trouble"]

LONGEST_REASON = 400
LAST_SEEN = "what the last probes of the gate were answered"
"""Title of the evidence that shows it."""
ENDED = {
    "not-expressible": "the mesh has no words for what was asked",
    "not-in-force": "the check ended at its gate",
    "refused": "the check ended when its configuration was refused",
    "environment": "the check was kept from its work",
    "crash": "the check itself failed",
}


@dataclass(frozen=True)
class Trouble:
    """Why there is no history."""

    kind: Literal["not-expressible", "not-in-force", "refused", "environment", "crash"]
    text: str
    seen: tuple[Probed, ...] = ()
    """Of a gate that stayed shut: what its last probes were answered."""

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        """What an exception of a check's body means."""
        if isinstance(error, NotExpressible):
            return cls("not-expressible", str(error))
        if isinstance(error, NotInForce):
            return cls("not-in-force", str(error), error.seen)
        if isinstance(error, Refused):
            return cls("refused", error.message or error.problem)
        if isinstance(error, MeshproofError):
            # Shorter, as the fix must not be cut off.
            said = error.message if isinstance(error, ApiProblem) and error.without_rights else error.problem
            return cls("environment", ": ".join(filter(None, (said, error.fix))))
        return cls("crash", f"{type(error).__name__}: {error}")

    @property
    def judgement(self) -> Judgement:
        """The verdict: what the mesh declares or does is its own, the rest proves nothing."""
        if self.kind == "not-expressible":
            return Judgement(Verdict.UNSUPPORTED, self.text)
        if self.kind == "not-in-force":
            return failed(self.text, *self._evidence)
        if self.kind == "refused":
            return failed(f"the configuration was refused: {_short(self.text)}")
        if self.kind == "environment":
            return inconclusive(_short(self.text))
        return inconclusive(f"the check itself failed: {_short(self.text)}")

    @property
    def ended(self) -> str:
        """Where the check ended, for whoever looks for the history that there is none of."""
        return f"no history: {ENDED[self.kind]}"

    @property
    def _evidence(self) -> tuple[Evidence, ...]:
        return (Evidence(LAST_SEEN, table(self.seen)),) if self.seen else ()


def _short(text: str) -> str:
    """The start of a long problem; the bundle has all of it."""
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON].rstrip() + " …"
