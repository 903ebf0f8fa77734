"""What ended a collection before there was a history, as a value that a bundle keeps and that is judged like one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conformance.context import NotExpressible, NotInForce
from conformance.model import Judgement, failed, inconclusive
from fixtures.kube import UNKNOWN_KIND, ApiProblem
from reports.errors import MeshproofError
from reports.model import Verdict

__all__ = ["Trouble"]

LONGEST_REASON = 400
REFUSALS = frozenset({400, 403, 404, 409, 422})
"""HTTP statuses by which the API server says that an object is wrong, not that it is out of order."""


@dataclass(frozen=True)
class Trouble:
    """Why there is no history."""

    kind: Literal["not-expressible", "not-in-force", "refused", "environment", "crash"]
    text: str

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        """What an exception of a check's body means."""
        if isinstance(error, NotExpressible):
            return cls("not-expressible", str(error))
        if isinstance(error, NotInForce):
            return cls("not-in-force", str(error))
        if isinstance(error, ApiProblem) and error.reason == UNKNOWN_KIND:
            # Of a cluster without e.g. the Gateway API's definitions, which no mesh has to bring.
            return cls("environment", f"{error.problem}: {error.fix}")
        if isinstance(error, ApiProblem) and error.status in REFUSALS:
            return cls("refused", error.message or error.problem)
        if isinstance(error, MeshproofError):
            return cls("environment", error.problem)
        return cls("crash", f"{type(error).__name__}: {error}")

    @property
    def judgement(self) -> Judgement:
        """The verdict: what the mesh declares or does is its own, the rest proves nothing."""
        if self.kind == "not-expressible":
            return Judgement(Verdict.UNSUPPORTED, self.text)
        if self.kind == "not-in-force":
            return failed(self.text)
        if self.kind == "refused":
            return failed(f"the configuration was refused: {self.text}")
        if self.kind == "environment":
            return inconclusive(_short(self.text))
        return inconclusive(f"the check itself failed: {self.text}")


def _short(text: str) -> str:
    """The start of a long problem; the bundle has all of it."""
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON].rstrip() + " …"
