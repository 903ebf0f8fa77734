"""What checks tell the programs in their ground's pods, and what those say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from conformance.adapters import Adapter
from conformance.arrivals import BLUR, Arrivals
from conformance.certificates import Credentials
from conformance.limits import LIMITS
from conformance.pods import Pod
from fixtures.kube import Kube
from fixtures.workloads.manifests import ECHO_CONTROL, SNIFFER_CONTROL
from fixtures.workloads.traffic import Control, Record

__all__ = ["Orders"]

T = TypeVar("T")


class Orders:
    """Orders to echo pods and sniffers, by one port-forward for each control port, which is kept until the end."""

    def __init__(self, kube: Kube, adapter: Adapter) -> None:
        self.kube = kube
        self.adapter = adapter
        self._exits = contextlib.ExitStack()
        self._controls: dict[tuple[str, str, int], Control] = {}

    def close(self) -> None:
        """End every port-forward."""
        self._exits.close()
        self._controls.clear()

    @staticmethod
    def now() -> float:
        """Epoch seconds, the clock of the records."""
        return time.time()

    def behave(self, pod: Pod, **behaviour: str) -> int:
        """Tell one echo pod how to answer from now on (`codes="500:100"`, `codes=""`, nothing: as before).

        Returns how many requests it has answered so far, by its own count.
        """
        return int(self._control(pod, ECHO_CONTROL, "/behaviour", behaviour).get("served", 0))

    def arrivals(self, pod: Pod) -> Arrivals:
        """When requests came to one echo pod, by its own clock: of a few answers the one that came quickest."""

        def ask() -> Arrivals:
            asked = self.now()
            said = self._control(pod, ECHO_CONTROL, "/arrivals")
            return Arrivals(asked, self.now(), float(said["reach"]), tuple(map(float, said["ages"])))

        best = ask()
        for _ in range(9):
            if best.blur < BLUR / 10:
                break
            best = min(best, ask(), key=lambda one: one.blur)
        return best

    def counts_of(self, pods: Iterable[Pod], keys: Sequence[str]) -> list[int]:
        """How many requests with each key reached these echo pods, by their own counts."""
        path = f"/count?key={','.join(keys)}"
        told = [self._control(pod, ECHO_CONTROL, path)["counts"] for pod in pods]
        return [sum(int(one[key]) for one in told) for key in keys]

    def served(self, pod: Pod) -> int:
        """How many requests and lines one echo pod has answered so far, by its own count."""
        state = self._control(pod, ECHO_CONTROL, "/behaviour", {})
        return int(state.get("served", 0)) + int(state.get("lines", 0))

    def counting(self, pod: Pod, traffic: Callable[[], T]) -> tuple[T, int]:
        """What `traffic` comes to, and how many requests and lines one echo pod has answered meanwhile."""
        before = self.served(pod)
        found = traffic()
        return found, self.served(pod) - before

    def certify(self, pod: Pod, credentials: Credentials) -> None:
        """Have one echo pod show this certificate on its own TLS port from now on."""
        body = {"certificate": credentials.chain, "key": credentials.key}
        self._control(pod, ECHO_CONTROL, "/certificate", body)

    def sniff(self, pod: Pod, port: int, marker: str, traffic: Callable[[], Sequence[Record]]) -> dict[str, Any]:
        """What the pod's interface carried while `traffic` ran, and the traffic's records.

        Seen are the port, and the one at which the pod's proxy takes the mesh's own traffic, where that is another.
        """
        proxy = self.adapter.proxy
        ports = [port, *([proxy.inbound_port] if proxy and proxy.inbound_port else [])]
        self._control(pod, SNIFFER_CONTROL, "/start", {"ports": ports, "marker": marker})
        try:
            records = traffic()
        finally:
            seen = self._control(pod, SNIFFER_CONTROL, "/stop", {})
        return {**seen, "records": list(records)}

    def _control(self, pod: Pod, port: int, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        key = (pod.namespace, pod.name, port)
        if key not in self._controls:
            self._controls[key] = Control.of_pod(self.kube, pod.namespace, pod.name, port)
            self._exits.callback(self._controls[key].close)
        if body is None:
            return self._controls[key].order("GET", path, timeout=LIMITS.control)
        return self._controls[key].order("POST", path, dict(body), LIMITS.control)
