"""A fault that does nothing: it touches a decoy nobody reads. The harness must notice that it did not land."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from chaos.model import Cluster, Right, Undo
from reports.model import JSON

if TYPE_CHECKING:
    from fixtures.kube import Kube

__all__ = ["Sham"]


@dataclass(frozen=True)
class Sham:
    """Write into a ConfigMap that no workload uses, and look for harm in a pod of the real workload."""

    namespace: str
    decoy: str
    pod: str
    port: int
    name: ClassVar[str] = "sham"
    about: ClassVar[str] = "nothing happens: shows that the harness notices a fault that did not land"

    def available(self, kube: Kube) -> str:
        """Needs the decoy."""
        found = kube.get("v1", "ConfigMap", self.decoy, self.namespace)
        return "" if found else f"there is no decoy {self.namespace}/{self.decoy}"

    def plan(self, kube: Kube) -> Undo:  # noqa: ARG002 - nothing to look up
        """Take the word out of the decoy again."""
        return Undo(self.name, {"namespace": self.namespace, "decoy": self.decoy})

    def inject(self, kube: Kube) -> None:
        """Write a word into the decoy; the API server says yes, as it would to a fault that does something."""
        kube.patch("v1", "ConfigMap", self.decoy, {"data": {"broken": "yes"}}, self.namespace)

    def landed(self, kube: Kube) -> str:
        """The workload is asked, as for a real fault; it answers as ever, so nothing shows."""
        with closing(kube.dial(self.namespace, self.pod, self.port)) as stream:
            stream.socket.settimeout(5)
            stream.socket.sendall(b"GET / HTTP/1.1\r\nHost: landed\r\nConnection: close\r\n\r\n")
            answer = stream.socket.recv(64)
        return "" if answer.startswith(b"HTTP/1.1 200") else f"{self.pod} answers {answer[:20]!r}"

    def rights(self) -> tuple[Right, ...]:
        """The decoy."""
        return (Right(self.namespace, "", ("configmaps",), ("get", "patch"), (self.decoy,)),)

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Remove the word; nothing to do when the decoy is gone."""
        namespace, decoy = str(arguments["namespace"]), str(arguments["decoy"])
        if kube.get("v1", "ConfigMap", decoy, namespace) is not None:
            kube.patch("v1", "ConfigMap", decoy, {"data": {"broken": None}}, namespace)
