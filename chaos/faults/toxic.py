"""Disturb the bytes between two workloads with a toxic of a toxiproxy server that stands between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from chaos.model import Cluster, Right, Undo
from reports.errors import EnvironmentProblem
from reports.model import JSON

if TYPE_CHECKING:
    from fixtures.kube import Kube

__all__ = ["API_PORT", "Toxic", "toxiproxy_api"]

API_PORT = 8474
"""The server's API; bound to loopback in its pod, reached by port-forward only."""
API_SECONDS = 5.0
"""For an answer of that API. An undo must end, and an impatient user is held back from ending it."""


@contextmanager
def toxiproxy_api(kube: Kube, namespace: str, pod: str) -> Iterator[Any]:
    """The library's client for a server in a pod. It keeps its address in a global: one at a time in a process."""
    from toxiproxy import Toxiproxy

    with kube.forward(namespace, pod, API_PORT) as (host, port), _limited():
        client = Toxiproxy()
        client.update_api_consumer(host, port)
        yield client


@contextmanager
def _limited() -> Iterator[None]:
    """Each call of the library's within API_SECONDS: by itself it waits for ever, and has no argument for that."""
    from toxiproxy.api import APIConsumer

    unlimited = {verb: vars(APIConsumer)[verb] for verb in ("get", "post", "delete")}
    for verb in unlimited:
        setattr(APIConsumer, verb, partial(getattr(APIConsumer, verb), timeout=API_SECONDS))
    try:
        yield
    finally:
        for verb, call in unlimited.items():
            setattr(APIConsumer, verb, call)


@dataclass(frozen=True)
class Toxic:
    """One toxic on one proxy: latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data."""

    namespace: str
    pod: str
    proxy: str
    port: int
    """Where the proxy listens in its pod."""
    toxic: str
    attributes: Mapping[str, int] = field(default_factory=dict)
    name: ClassVar[str] = "toxic"
    about: ClassVar[str] = "bytes between two workloads are delayed, cut or reset by toxiproxy"

    def available(self, kube: Kube) -> str:
        """Needs the server and its proxy."""
        with toxiproxy_api(kube, self.namespace, self.pod) as api:
            return "" if api.get_proxy(self.proxy) else f"toxiproxy in {self.pod} has no proxy {self.proxy}"

    def plan(self, kube: Kube) -> Undo:  # noqa: ARG002 - nothing to look up
        """Remove the toxic by name."""
        target = {"namespace": self.namespace, "pod": self.pod, "proxy": self.proxy}
        return Undo(self.name, {**target, "toxic": self._label})

    def inject(self, kube: Kube) -> None:
        """Add the toxic."""
        with toxiproxy_api(kube, self.namespace, self.pod) as api:
            proxy = api.get_proxy(self.proxy)
            if proxy is None:
                raise EnvironmentProblem(f"toxiproxy in {self.namespace}/{self.pod} has no proxy {self.proxy}")
            proxy.add_toxic(type=self.toxic, name=self._label, attributes=dict(self.attributes))

    def landed(self, kube: Kube) -> str:
        """A request sent through the proxy is seen to suffer: the API is not asked."""
        enough = self.attributes.get("latency", 1000) / 1000 * 0.5
        with closing(kube.dial(self.namespace, self.pod, self.port)) as stream:
            stream.socket.settimeout(enough)
            stream.socket.sendall(b"GET / HTTP/1.1\r\nHost: landed\r\nConnection: close\r\n\r\n")
            try:
                answer = stream.socket.recv(1024)
            except TimeoutError:
                return f"a request through the proxy had no answer after {enough:.2f} s"
        return "" if answer else "the proxy cut a request off"

    def rights(self) -> tuple[Right, ...]:
        """Replacing the server's pod: the janitor has no port-forward."""
        return (Right(self.namespace, "", ("pods",), ("get", "delete"), (self.pod,)),)

    @property
    def _label(self) -> str:
        return f"meshproof-{self.toxic}"

    @staticmethod
    def undo(kube: Cluster, arguments: Mapping[str, JSON]) -> None:
        """Remove the toxic. Where its server cannot be reached, replace the pod: a new one begins without toxics."""
        namespace, pod = str(arguments["namespace"]), str(arguments["pod"])
        if kube.get("v1", "Pod", pod, namespace) is None:
            return
        if hasattr(kube, "forward"):  # the janitor's client has none
            proxy, toxic = str(arguments["proxy"]), str(arguments["toxic"])
            with suppress(Exception):  # whatever it is that keeps the server away
                _remove(cast("Kube", kube), namespace, pod, proxy, toxic)
                return
        kube.delete("v1", "Pod", pod, namespace)


def _remove(kube: Kube, namespace: str, pod: str, proxy: str, toxic: str) -> None:
    with toxiproxy_api(kube, namespace, pod) as api:
        found = api.get_proxy(proxy)
        if found is not None and toxic in found.toxics():
            found.destroy_toxic(toxic)
