"""What a check's body works with: its ground's pods and clients, intents, gates. All effects of a check pass here."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from conformance.adapters import Adapter, Manifest, Rendered, Unsupported
from conformance.dressing import Dressing
from conformance.farewell import Farewell
from conformance.gates import MARK_ROW, Gate, Look, gates_open
from conformance.ground import Ground, meshed_at, one_port, space_name
from conformance.intents import Backend, Intent, Marker, Mode, MtlsMode
from conformance.limits import LIMITS, Limits
from conformance.mesh_policies import expect_no_rivals
from conformance.orders import Orders
from conformance.outside import expect_outside
from conformance.pods import Pod, in_url
from conformance.probes import Heard, Probed, Unanswered
from conformance.pulse import Pulse
from conformance.putting import NotExpressible, Refused, merge, put, says
from conformance.settings import CLUSTER_DOMAIN
from fixtures.kube import Kube, NotEventually, eventually
from fixtures.workloads.batch import MAX_SECONDS
from fixtures.workloads.traffic import Batch, Client, Control, Job, Record
from reports.errors import EnvironmentProblem

__all__ = [
    "LIMITS",
    "LOOK_SECONDS",
    "Context",
    "Limits",
    "NotExpressible",
    "NotInForce",
    "Pod",
    "Refused",
    "in_url",
]

T = TypeVar("T")
LOOKS = 3
"""The least number of looks at whether a configuration is in force."""
LOOK_SECONDS = 0.3
"""What such a look is given at least, however late it comes."""


class NotInForce(Exception):
    """A configuration was accepted and yet its mark never showed. `seen`: what the last probes were answered."""

    def __init__(self, text: str, seen: tuple[Probed, ...] = ()) -> None:
        super().__init__(text)
        self.seen = seen


class Context(Orders):
    """One ground in one run. Not for several threads."""

    def __init__(
        self,
        kube: Kube,
        adapter: Adapter,
        ground: Ground,
        *,
        run: str,
        image: str,
        alpha: float,
        dressing: Dressing = Dressing(),  # noqa: B008 - frozen
        farewell: Farewell | None = None,
        domain: str = CLUSTER_DOMAIN,
    ) -> None:
        super().__init__(kube, adapter)
        self.ground = ground
        self.run = run
        self.image = image
        self.alpha = alpha
        """False-alarm probability granted to each check."""
        self.dressing = dressing
        """What pods that a check creates by itself are dressed with: `ctx.dressing.on(pod)`."""
        self.farewell = farewell
        """What takes the mesh off the cluster; None where nobody may."""
        self.domain = domain
        """The cluster's own DNS domain."""
        self.applied: list[Mapping[str, Any]] = []
        self._passing: list[Manifest] = []
        self._clients: dict[str, Client] = {}
        self._outside = False
        """Whether the outsider is known to be one."""
        self.unanswered = Unanswered()
        """For bundles: how requests of this ground's checks ended that nobody answered."""
        self._heard: Heard | None = None
        """Of the gate that is being looked at."""
        self._shared: dict[Callable[..., Any], tuple[tuple[float, float], Any]] = {}
        self._windows: list[tuple[float, float]] = []
        self._begun = time.time()
        self.prepared = 0.0
        """Seconds that went into what only prepares the ground, for all of its checks."""

    def close(self) -> None:
        """End port-forwards and clients."""
        super().close()
        self._clients.clear()

    # -- places and workloads --------------------------------------------------------------------------------------

    def space(self, place: str) -> str:
        """The namespace of a place."""
        return space_name(self.run, self.ground.name, place)

    def pods(self, workload: str) -> list[Pod]:
        """The Ready pods of a workload."""
        one = self.ground.workload(workload)
        selector = f"app={one.app or one.name}" + (f",version={one.version}" if one.kind == "echo" else "")
        found = self.kube.wait_pods_ready(
            self.space(one.place), selector, count=one.replicas, timeout=LIMITS.ground_ready
        )
        return [Pod.of(item) for item in found]

    def pod(self, workload: str) -> Pod:
        """The only pod of a workload."""
        return self.pods(workload)[0]

    def pod_named(self, name: str, place: str) -> Pod:
        """A pod by its name, as it is now."""
        found = self.kube.get("v1", "Pod", name, self.space(place))
        return Pod.of(found or {"metadata": {"name": name, "namespace": self.space(place)}})

    def client(self, workload: str = "") -> Client:
        """The traffic client of a client workload, the meshed one by default."""
        name = workload or self.ground.client
        if name not in self._clients:
            space = self.space(self.ground.workload(name).place)
            heard = partial(self._hear, f"{space}/{name}")
            self._clients[name] = self._exits.enter_context(Client(self.kube, space, name, heard=heard))
        return self._clients[name]

    def _hear(self, client: str, batch: Batch, records: Sequence[Record]) -> None:
        self.unanswered.hear(client, batch, records)
        if self._heard is not None:
            self._heard.hear(client, batch, records)

    def outsider(self) -> Client:
        """The traffic client outside of the mesh. `EnvironmentProblem` where somebody has taken it into the mesh.

        What injection checks themselves send comes from `client(ground.outsider)`: they say who injected it.
        """
        if not self._outside:
            name = self.ground.outsider
            expect_outside(self.kube, self.adapter, self.space(self.ground.workload(name).place), name)
            self._outside = True
        return self.client(self.ground.outsider)

    def url(self, service: str, port: int = 8080, path: str = "/", scheme: str = "http") -> str:
        """URL of one of the ground's services by its full name; `NotExpressible` where the mesh lacks its port."""
        place = next(one.place for one in self.ground.services if one.name == service)
        if not self.serves(place, port):
            raise NotExpressible(f"the mesh knows one port of a pod only, which is not {port}")
        return f"{scheme}://{self.host(service)}:{port}{path}"

    def host(self, service: str) -> str:
        """The full name of one of the ground's services."""
        place = next(one.place for one in self.ground.services if one.name == service)
        return f"{service}.{self.space(place)}.svc.{self.domain}"

    def serves(self, place: str, port: int) -> bool:
        """Whether pods of a place are asked on a port by way of the mesh, if they are in it at all."""
        meshed = next(one.meshed for one in self.ground.places if one.name == place)
        return not meshed or one_port(self.adapter) in (0, port)

    # -- intents and gates -----------------------------------------------------------------------------------------

    def render(self, intent: Intent) -> Rendered:
        """An intent in the mesh's words; `NotExpressible` where it has none."""
        rendered = self.adapter.render(intent)
        if isinstance(rendered, Unsupported):
            raise NotExpressible(rendered.reason)
        return rendered

    def expect_strict(self, place: str, *, taken: bool) -> None:
        """A place that stands strict took plaintext, or not: `NotExpressible` where nobody could tell the mesh so."""
        if taken:
            self.render(MtlsMode(self.space(place), Mode.STRICT))

    def apply(self, *intents: Intent, passing: bool = False) -> tuple[Manifest, ...]:
        """Put intents into the cluster, and return them as they were put. They go with the ground's namespaces.

        What is `passing` goes once the check has been judged and its bundle has been written: other checks of the
        ground would not find it as they expect it.

        `NotExpressible` where the mesh has no words for one, or the cluster's definitions lack what it takes.
        """
        rendered = [self.render(one) for intent in intents for one in self._spelled(intent)]
        merges = [part for one in rendered for part in one.merges]
        if any(part["kind"] == "Namespace" and not says(self.kube, part) for part in merges):
            raise NotExpressible(
                "what its namespace says takes effect for new pods only: pods that run keep what they had"
            )
        expect_no_rivals(self.kube, (rival for one in rendered for rival in one.rivals))
        sent = tuple(part for one in rendered for part in (*one.merges, *one.objects))
        self.applied.extend(sent)
        for one in rendered:
            for part in one.merges:
                merge(self.kube, part)
            for item in one.objects:
                put(self.kube, item)
                if passing:
                    self._passing.append(item)
        return sent

    def tidy(self) -> None:
        """The check has been judged: take away what was for it alone."""
        passing, self._passing = self._passing, []
        self.remove(*reversed(passing))

    def _spelled(self, intent: Intent) -> tuple[Intent, ...]:
        """An intent, or what says the same of each workload where a mesh has mTLS modes for workloads only."""
        if not isinstance(intent, MtlsMode) or intent.workload or isinstance(self.adapter.render(intent), Rendered):
            return (intent,)
        place = next((one.name for one in self.ground.places if self.space(one.name) == intent.namespace), "")
        each = tuple(replace(intent, workload=app) for app in meshed_at(self.ground, place))
        told = [self.adapter.render(one) for one in each]
        return each if each and not any(isinstance(one, Unsupported) for one in told) else (intent,)

    def remove(self, *objects: Mapping[str, Any]) -> None:
        """Delete objects that were applied; one that is gone already is fine."""
        for item in objects:
            meta = item["metadata"]
            self.kube.delete(item["apiVersion"], item["kind"], meta["name"], meta.get("namespace"))

    def marker(self, backend: Backend) -> Marker:
        """A fresh mark: no earlier configuration can show it."""
        return Marker("x-meshproof-mark", secrets.token_hex(8), backend)

    def gate(self, service: str, marker: Marker, how: Gate | None = None) -> None:
        """Wait until the marked requests reach the marked backend many times in a row, each on a new connection.

        First an ordinary request must reach another backend: a service whose other endpoints are not known yet answers
        from one backend too, and that would look like the mark. How likely chance is to make one, `MARK_ROW` says.
        """
        how = how or Gate()
        look = self.look(service, marker, how)
        self.in_force(
            lambda: all(gates_open(self.client(how.client).batches, [look])),
            f"the mark of the configuration for {service} ({MARK_ROW} answers of {marker.backend.name})",
            timeout=how.timeout,
        )

    def look(self, service: str, marker: Marker, how: Gate) -> Look:
        """What a gate asks. `NotExpressible` where the mesh lacks the service's port."""
        ordinary = Batch(
            url=self.url(service, how.port, how.ordinary),
            protocol=how.protocol,
            timeout=LIMITS.probe,
            concurrency=how.at_once,
            fresh=True,
            fields=("pod", "version"),
        )
        marked = replace(ordinary, url=self.url(service, how.port, how.path), headers={marker.header: marker.value})
        return Look(ordinary if how.ordinary else None, marked, marker.backend)

    def in_force(
        self, probe: Callable[[], bool], what: str, *, successes: int = 1, timeout: float | None = None
    ) -> None:
        """Wait for an observable mark; `NotInForce` where it does not show in time: as the run's settings say.

        `EnvironmentProblem` where the last look could not be made, as to a pod that is gone.

        It is looked for a few times at least: on a slow machine a single look may take all the time there is.
        """
        limit = within = LIMITS.in_force if timeout is None else timeout
        heard = self._heard = Heard()
        last: object = None
        try:
            while heard.looks < LOOKS:
                try:
                    eventually(lambda: heard.look(probe), timeout=limit, what=what, successes=successes)
                except NotEventually as error:
                    last, limit = error.last, LOOK_SECONDS
                else:
                    return
        finally:
            self._heard = None
        said = f"{what}: not within {within:g} s ({heard.looks} attempts; {heard.last(last)})"
        if isinstance(last, EnvironmentProblem):  # nobody could look any more, whatever there was to be seen
            raise EnvironmentProblem(said) from last
        self._expect_name(heard.unresolved)
        raise NotInForce(said, heard.seen) from (last if isinstance(last, BaseException) else None)

    def _expect_name(self, asked: Batch | None) -> None:
        """`EnvironmentProblem` where the name that a batch asked for is unknown outside of the mesh too."""
        if asked is None or all(one.name != self.ground.outsider for one in self.ground.workloads):
            return
        (record,) = self.outsider().batch(replace(asked, count=1))
        if record.error == "dns":
            raise EnvironmentProblem(
                f"the cluster's name server does not know {asked.parts.hostname}",
                fix=f"if names of its Services do not end in {self.domain}, say --set cluster-domain=…",
            )

    def until(self, probe: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait for the course of the test itself (not of the mesh); `NotEventually` makes the check inconclusive."""
        eventually(probe, timeout=timeout, what=what)

    def watch(self, probe: Callable[[], bool], timeout: float) -> None:
        """Go on collecting until `probe` is true or the time is over; which of the two, the judge finds out."""
        with contextlib.suppress(NotEventually):
            eventually(probe, timeout=timeout, what="")

    def shared(self, collect: Callable[[Context], T], *, judged: bool = True) -> T:
        """The history that several checks of a ground judge; collected once, and if that fails, it fails for all.

        Not `judged` is what only prepares the ground: a stall meanwhile says nothing of what is seen later.
        """
        if collect not in self._shared:
            began, clock, before = time.time(), time.monotonic(), self.prepared
            outcome: T | Exception
            try:
                outcome = collect(self)
            except Exception as error:  # noqa: BLE001 - kept for all who share it, and raised below
                outcome = error
            self._shared[collect] = (began, time.time()), outcome
            if not judged:  # what was prepared on the way is a part of it
                self.prepared = before + time.monotonic() - clock
        window, found = self._shared[collect]
        if judged or isinstance(found, Exception):
            self._windows.append(window)
        if isinstance(found, Exception):
            raise found
        history: T = found
        return history

    def begin(self) -> None:
        """A check's collection begins."""
        self._begun = time.time()
        self._windows.clear()

    @property
    def windows(self) -> list[tuple[float, float]]:
        """The times (begin, end) in which the check's history was collected: its own up to now, and the shared ones."""
        return [(self._begun, time.time()), *self._windows]

    def stalls(self) -> list[tuple[float, float]]:
        """When the pods that the ground's checks spoke to got no processor, see `Control.stalls`."""
        found: list[tuple[float, float]] = []
        programs: list[Client | Control] = [*self._clients.values(), *self._controls.values()]
        for one in programs:
            with contextlib.suppress(EnvironmentProblem):  # a pod that is gone tells nothing
                found += one.stalls()
        return found

    @contextlib.contextmanager
    def pulse(self, client: Client, url: str, rate: float) -> Iterator[Callable[[float], Pulse]]:
        """Beats to an address while the block runs, lines of TCP or requests by HTTP, as its URL says.

        What is yielded gives the pulse up to a moment, once it is past.
        """
        job = client.start(
            Batch(
                url=url,
                protocol="tcp" if url.startswith("tcp:") else "http1",
                rate=rate,
                duration=min(4 * LIMITS.ground_ready, MAX_SECONDS),
                concurrency=4,
                timeout=LIMITS.probe,
                fields=(),
            )
        )
        try:
            yield lambda until: self._pulse(job, rate, until)
        finally:
            job.stop()

    def _pulse(self, job: Job, rate: float, until: float) -> Pulse:
        seen: list[Record] = []

        def past() -> bool:
            seen.extend(job.records(len(seen)))
            # Beats end in any order: the ones due before the moment have ended once a later one and their time have.
            return (
                bool(seen) and seen[-1].start > until and len(seen) >= (until - min(one.start for one in seen)) * rate
            )

        self.watch(past, LIMITS.probe + 1.0)
        return Pulse.of(rate, seen)

    def counted(self, key: str, *workloads: str) -> int:
        """How many requests with a key reached the only pods of these echo workloads, by their own counts."""
        return self.counts([key], *workloads)[0]

    def counts(self, keys: Sequence[str], *workloads: str) -> list[int]:
        """The same for each of several keys."""
        return self.counts_of(map(self.pod, workloads), keys)
