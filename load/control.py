"""The runner's side of a control port in a pod: one port-forward, JSON calls over it, and the pod's clock."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from types import TracebackType
from typing import Any, Self

from fixtures.kube import Kube, eventually
from fixtures.workloads.clocks import ahead
from reports.errors import EnvironmentProblem

__all__ = ["PodControl"]


class PodControl:
    """A control port on a pod's loopback, as a context manager. Raises EnvironmentProblem when it cannot be reached.

    `clock` is a path whose answer has the pod's epoch time under "now".
    """

    what = "control port"

    def __init__(self, kube: Kube, namespace: str, pod: str, port: int, clock: str, patience: float = 20.0) -> None:
        self.namespace = namespace
        self.pod = pod
        self.skew = 0.0
        """Seconds to add to the pod's clock to get the runner's; measured on entering, good to half a round trip."""
        self._kube = kube
        self._port = port
        self._clock = clock
        self._patience = patience
        self._forward: AbstractContextManager[tuple[str, int]] | None = None
        self._address = ("", 0)

    def __enter__(self) -> Self:
        eventually(self._open, timeout=self._patience, what=f"the {self.what} in {self.namespace}/{self.pod} answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forward is not None:
            self._forward.__exit__(kind, error, trace)
            self._forward = None

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """One call; raises EnvironmentProblem for anything but a 200."""
        with closing(self._connection()) as connection:
            return self._exchange(connection, method, path, body)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=20)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            told = json.loads(reply.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise EnvironmentProblem(
                f"the {self.what} in {self.namespace}/{self.pod} does not answer: {problem}"
            ) from problem
        if reply.status != 200 or not isinstance(told, dict):
            why = told.get("problem", "") if isinstance(told, dict) else told
            raise EnvironmentProblem(f"the {self.what} in {self.namespace}/{self.pod} refused {method} {path}: {why}")
        return told

    def _open(self) -> bool:
        if self._forward is None:
            forward = self._kube.forward(self.namespace, self.pod, self._port)
            self._address = forward.__enter__()
            self._forward = forward
        with closing(self._connection()) as kept:
            # The first call also waits for the way to the pod, all of it before the pod looks at its clock.
            self._exchange(kept, "GET", self._clock)
            self.skew = -ahead(lambda: float(self._exchange(kept, "GET", self._clock)["now"]))
        return True
