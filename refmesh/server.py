"""The control plane as one process: `python -m refmesh.server`.

Composes config, discovery, CA and injector in one event loop. Starts serving in well under a second, so that a restart
is hardly noticed; proxies keep what they have meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import aiohttp

from refmesh import arguments, process
from refmesh.ca import service as ca_service
from refmesh.ca import status
from refmesh.ca.authority import Authority
from refmesh.ca.news import HELD_SECONDS, News
from refmesh.ca.peer import peer_identity
from refmesh.ca.replicas import Replicas
from refmesh.ca.rotation import Rotator
from refmesh.config.certificates import CertificateReader
from refmesh.config.classic_servers import closed_servers
from refmesh.config.forerunners import Forerunners
from refmesh.config.ingress import wanted_certificates, without_gateways
from refmesh.config.istio_status import IstioStatusWriter
from refmesh.config.jwks import KeyFetcher
from refmesh.config.kept_keys import KeptKeys
from refmesh.config.leadership import Leadership
from refmesh.config.model import Certificate, Key, Pod, Snapshot
from refmesh.config.status import StatusWriter
from refmesh.config.store import Store
from refmesh.config.watcher import Watcher
from refmesh.dashboard import server as dashboard
from refmesh.dashboard.logging import NOBODY, Logging, logging_of
from refmesh.dashboard.sources import view_of
from refmesh.discovery import ads
from refmesh.discovery.accounts import Departures
from refmesh.discovery.credentials import RenewedCredentials
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.standings import Standings, inputs
from refmesh.discovery.world import Generator
from refmesh.errors import EnvironmentProblem
from refmesh.ingress.deployer import Deployer
from refmesh.injector import webhook
from refmesh.injector.containers import Config
from refmesh.injector.following import Following
from refmesh.kubeclient import Kube
from refmesh.telemetry import metrics, pages
from refmesh.telemetry.collector import Collector
from refmesh.telemetry.receiver import Receiver
from refmesh.telemetry.traces import Traces

__all__ = ["ControlPlane", "main"]

log = logging.getLogger("refmesh")

_APP = "refmesh"


class ControlPlane:
    """Everything that runs, and how it hangs together."""

    def __init__(self, options: argparse.Namespace, kube: Kube) -> None:
        self._options = options
        self._kube = kube
        self._settings = MeshSettings(
            trust_domain=options.trust_domain,
            root_namespace=options.namespace,
            observation=arguments.observation(options),
            text_log=options.access_log_encoding == "TEXT",
            log_format=options.access_log_format,
            trace_collector=options.trace_collector,
            trace_b3=options.trace_b3 == "on",
            allow_unknown=options.outbound_traffic_policy == "ALLOW_ANY",
        )
        self._generator = Generator(self._settings)
        self._departures, self._forerunners = Departures(), Forerunners()
        self._again: asyncio.TimerHandle | None = None
        """When something that is remembered is over, though nothing else changes."""
        self._hub = ads.Hub()
        self._store = Store(self._settings.domain)
        self._watcher = Watcher(kube, self._store, self._publish)
        holder = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._leadership = Leadership(kube, options.namespace, "refmesh-status", holder)
        self._keys = KeyFetcher(self._put_keys, self._own_addresses)
        self._kept_keys = KeptKeys(kube, options.namespace, self._leadership.leads)
        self._status = StatusWriter(kube, lambda: self._store.raw, self._leadership.leads)
        self._istio_status = IstioStatusWriter(kube, lambda: self._store.raw_of_istio, self._leadership.leads)
        self._certificates = CertificateReader(kube, self._put_certificate)
        self._closed = set[str]()
        self._templates = Following(kube, options.namespace)
        self._deployer = Deployer(
            kube, self._proxy_config, self._leadership.leads, options.namespace, classic=options.ingress_gateway == "on"
        )
        self._collector = Collector(self._pods)
        self._traces = Traces()
        self._ready = False
        self._authority: Authority | None = None
        self._rotator: Rotator | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the control plane's Service answers to."""
        base = f"refmesh.{self._options.namespace}"
        return ("refmesh", base, f"{base}.svc", f"{base}.svc.{self._settings.domain}")

    async def run(self, until: asyncio.Event) -> None:
        """Serve until the event is set."""
        options, started = self._options, time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                runner = await pages.start(lambda: self._ready, options.host, options.http_port)
            except OSError as error:
                raise EnvironmentProblem(
                    f"The port {options.http_port} cannot be opened: {error.strerror}.",
                    fix="Choose another --http-port.",
                ) from error
            stack.push_async_callback(runner.cleanup)
            authority = await Authority.load_or_create(
                self._kube, options.namespace, options.trust_domain, arguments.leaf_policy(options)
            )
            self._authority = authority
            shared: dict[str, Any] = {
                "authority": authority,
                "kube": self._kube,
                "names": self.names,
                "host": options.host,
                "trust_domain": options.trust_domain,
            }
            # Anybody may have tokens reviewed: neither watches nor the Lease wait behind that.
            reviews = self._kube.apart()
            stack.push_async_callback(reviews.close)
            certificates = await ca_service.start(port=options.ca_port, **shared | {"kube": reviews})
            stack.push_async_callback(certificates.close)
            await self._templates.start()
            stack.push_async_callback(self._templates.close)
            injection = await webhook.start(
                port=options.webhook_port,
                namespace=options.namespace,
                image=options.image,
                native=options.sidecar == "native",
                by_node=options.capture == "node",
                pull_secrets=options.image_pull_secrets,
                templates=lambda: self._templates.templates,
                others=lambda: self._store.now("service_entries", "destination_rules", "services"),
                **shared,
            )
            stack.push_async_callback(injection.close)
            self._leadership.start(gained=self._lead)
            stack.push_async_callback(self._leadership.close)
            for writer in (self._status, self._istio_status):
                writer.start()
                stack.push_async_callback(writer.close)
            self._deployer.start()
            stack.push_async_callback(self._deployer.close)
            # Before the first world: it would take from the proxies what a token issuer that is away cannot give again.
            for uri, keys in (await self._kept_keys.load()).items():
                self._store.put_keys(uri, keys)
            self._kept_keys.start()
            stack.push_async_callback(self._kept_keys.close)
            stack.push_async_callback(self._keys.close)
            stack.push_async_callback(self._certificates.close)
            await self._watcher.start(self._read_secrets)
            stack.push_async_callback(self._watcher.close)
            await self._serve_discovery(stack, authority)
            self._collector.start()
            stack.callback(self._collector.close)
            view = partial(view_of, self._hub, self._collector, authority, socket.gethostname(), self._other_replicas)
            app = dashboard.application(view, self._traces, self._logging)
            app.add_routes(pages.debug(self._shown(authority)))
            board = await dashboard.start(app, options.page_port)
            stack.push_async_callback(board.cleanup)
            # What exists now stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            self._ready = True
            log.info("serving %s after %.2f s", options.namespace, time.monotonic() - started)
            await until.wait()
            self._ready = False
            injection.leave()
            log.info("stopping in %g s", options.drain_seconds)
            # Nodes go on sending here until they know that this endpoint is gone.
            await asyncio.sleep(options.drain_seconds)

    async def _serve_discovery(self, stack: contextlib.AsyncExitStack, authority: Authority) -> None:
        credentials = RenewedCredentials(authority, self.names)
        stack.callback(credentials.close)
        replicas = Replicas(authority, self._peers, port=self._options.ads_port, name=self.names[2])
        self._rotator = Rotator(self._kube, authority, self._meshed, replicas.ask)
        for work in (self._rotator.run(), self._renewed(authority, credentials)):
            task = asyncio.create_task(work)
            stack.callback(task.cancel)
        service = ads.DiscoveryService(self._hub, self._settings)

        async def admit(node: str, context: Any) -> str:
            pod = await service.gate.admit(node, context)
            return f"{pod.namespace}/{pod.name}"

        receiver = Receiver(self._traces, self._settings.trust_domain, peer_identity)
        news = News(authority, admit, lambda: len(self._hub.streams))
        address = f"{self._options.host}:{self._options.ads_port}"
        try:
            others = [one.handler() for one in (news, replicas, receiver)]
            server, _ = await ads.serve(service, address, credentials.start(), others)
        except RuntimeError as error:
            raise EnvironmentProblem(
                f"the discovery port {self._options.ads_port} cannot be opened: {error}",
                fix="Choose another --ads-port.",
            ) from error
        stack.push_async_callback(ads.stop, server)

    async def _renewed(self, authority: Authority, credentials: RenewedCredentials) -> None:
        """Serve with certificates of the issuer that signs now."""
        known = authority.trust.generation
        while True:
            known = await authority.changed(known, HELD_SECONDS)
            credentials.renew()
            self._deployer.wake()

    def _lead(self) -> None:
        """Write and deploy what others may have left undone."""
        self._status.wake()
        self._istio_status.wake()
        self._deployer.wake()
        self._kept_keys.wake()

    def _proxy_config(self) -> Config:
        """For the proxies of gateways: as the injector tells sidecars."""
        if self._authority is None:
            raise RuntimeError("the CA is not there yet")
        options = self._options
        return webhook.proxy_config(
            self._authority,
            namespace=options.namespace,
            trust_domain=options.trust_domain,
            image=options.image,
            pull_secrets=options.image_pull_secrets,
        )

    def _meshed(self) -> list[str]:
        world = self._hub.world
        return [] if world is None else [f"{n}/{p}" for (n, p), pod in world.snapshot.pods.items() if pod.meshed]

    def _peers(self) -> list[str]:
        """The addresses of the other replicas."""
        return [pod.address for pod in self._other_replicas() if pod.address]

    def _own_addresses(self) -> set[str]:
        """Where the control plane itself is reached: its pods, and its Service."""
        world = self._hub.world
        service = world.snapshot.services.get((self._options.namespace, _APP)) if world is not None else None
        return {os.environ.get("POD_IP", ""), *self._peers(), *(service.addresses if service is not None else ())}

    def _other_replicas(self) -> list[Pod]:
        own = os.environ.get("POD_IP", "")
        replicas = (pod for pod in self._pods() if pod.namespace == self._options.namespace)
        return [pod for pod in replicas if pod.labels.get("app") == _APP and pod.address != own]

    def _publish(self, snapshot: Snapshot) -> None:
        """A new snapshot: to the proxies first, then to the statuses and gauges."""
        opens = self._options.gateways == "on"
        written = snapshot if opens else without_gateways(snapshot)
        secrets = self._secrets(written)
        snapshot = self._forerunners.held_back(written, secrets)
        if snapshot is not written:
            # A Gateway that waits for another Secret goes on with the one that it had.
            secrets |= self._secrets(snapshot)
        snapshot = self._departures.noted(snapshot)
        if self._again is not None:
            self._again.cancel()
        ends = (self._departures.seconds_left, self._forerunners.seconds_left)
        if (seconds := min((one for one in ends if one is not None), default=None)) is not None:
            self._again = asyncio.get_running_loop().call_later(seconds, self._watcher.changed)
        world = self._generator.build(snapshot)
        self._hub.publish(world)
        self._status.offer(snapshot)
        self._istio_status.offer(inputs(snapshot), partial(Standings, world.attachments))
        self._keys.offer(snapshot)
        self._kept_keys.offer(snapshot)
        self._certificates.want(secrets)
        if opens:
            self._deployer.offer(snapshot)
        self._tell_closed(closed_servers(snapshot))
        metrics.REJECTED_OBJECTS.clear()
        for kind, namespace, name in snapshot.rejected:
            metrics.REJECTED_OBJECTS.labels(kind).inc()
            log.debug("%s %s/%s is not in force", kind, namespace, name)

    def _secrets(self, snapshot: Snapshot) -> set[Key]:
        """Those that are to be read."""
        return wanted_certificates(snapshot) if self._options.gateways == "on" else set()

    async def _read_secrets(self) -> None:
        """Before the first world: it would close the ports of gateways whose certificates are not known yet."""
        self._certificates.want(self._secrets(self._store.snapshot()))
        await self._certificates.read()

    def _tell_closed(self, closed: set[str]) -> None:
        """The log says why a server is closed, once."""
        for sentence in sorted(closed - self._closed):
            log.warning("%s", sentence)
        self._closed = closed

    def _put_keys(self, uri: str, keys: str | None) -> None:
        if self._store.put_keys(uri, keys):
            self._watcher.changed()

    def _put_certificate(self, secret: Key, certificate: Certificate | None) -> None:
        if self._store.put_certificate(secret, certificate):
            self._watcher.changed()

    def _pods(self) -> Iterable[Pod]:
        world = self._hub.world
        return world.snapshot.pods.values() if world is not None else ()

    def _logging(self, namespace: str, name: str) -> Logging:
        world = self._hub.world
        return NOBODY if world is None else logging_of(world.snapshot, self._settings, namespace, name)

    def _shown(self, authority: Authority) -> dict[str, Callable[[], Any]]:
        """What the debug pages tell."""
        return {
            "proxies": self._show_proxies,
            "rejected": self._show_rejected,
            "certificates": lambda: status.page(authority, self._rotator),
        }

    def _show_proxies(self) -> Any:
        return [
            {"proxy": f"{key[1]}.{key[0]}", "peer": peer, "types": state.status(), "in_step": state.in_step}
            for key, (state, peer) in sorted(self._hub.streams.items())
        ]

    def _show_rejected(self) -> Any:
        world = self._hub.world
        rejected = world.snapshot.rejected if world is not None else {}
        return [
            {"kind": kind, "namespace": namespace, "name": name, "reason": item.reason}
            for (kind, namespace, name), item in sorted(rejected.items())
        ]


async def _serve(options: argparse.Namespace) -> None:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, until.set)
    outside = options.kubeconfig is not None or options.context is not None
    kube = Kube.from_kubeconfig(options.kubeconfig, options.context) if outside else Kube.in_cluster()
    try:
        await ControlPlane(options, kube).run(until)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EnvironmentProblem(f"The API server cannot be reached: {error}.") from error
    finally:
        await kube.close()


def main(given: list[str] | None = None) -> int:
    """Run the control plane; the exit code."""
    options = arguments.parse(sys.argv[1:] if given is None else given)
    return process.run(lambda: _work(options), options.log_level)


def _work(options: argparse.Namespace) -> None:
    if options.defect:
        from refmesh import defects

        log.warning("seeded defect in force: %s", defects.switch_on(options.defect).summary)
    import uvloop

    uvloop.run(_serve(options))


if __name__ == "__main__":
    sys.exit(main())
