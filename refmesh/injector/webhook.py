"""The mutating webhook: https, one path, AdmissionReviews in and out.

Its selectors (made at install) call it only for pods that opted in, by their namespace or by themselves; so the review
needs no look-up of the namespace, and answering takes well under a millisecond.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import Counter, Histogram

from refmesh.config import admission
from refmesh.config.model import Snapshot
from refmesh.errors import EnvironmentProblem, RefmeshError
from refmesh.injector.patch import BadPod, Config, Skip, patch, warnings
from refmesh.injector.policy import CONFIGURATION, NAMESPACE_LABEL, VALIDATOR
from refmesh.injector.templates import Templates
from refmesh.kubeclient import Conflict, KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from refmesh.ca.authority import Authority
    from refmesh.kubeclient import Kube

__all__ = ["CONFIGURATION", "Service", "review", "start"]

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 << 20
_MAX_REVIEW_BYTES = 3 << 20
"""An object as it is and as it was, each of the 1.5 MiB that etcd takes. Any pod of the cluster may send one."""
_CHECK_SECONDS, _RETRY_SECONDS = 60.0, 0.5
_RENEW_SECONDS = 12 * 3600.0

_REVIEWS = Counter("refmesh_injector_reviews_total", "Admission reviews by outcome", ["result"])
_SECONDS = Histogram(
    "refmesh_injector_review_seconds",
    "Time to answer one admission review",
    buckets=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.1, 1),
)


class Service:
    """The running webhook with its two housekeeping tasks."""

    def __init__(
        self, runner: web.AppRunner, port: int, tasks: Sequence[asyncio.Task[None]], leaving: asyncio.Event
    ) -> None:
        self._runner, self.port, self._tasks, self._leaving = runner, port, tasks, leaving

    def leave(self) -> None:
        """Answer on, but end each connection with its answer.

        An API server keeps its connections. One that is cut while the next review is on its way costs a pod's creation.
        """
        self._leaving.set()

    async def close(self) -> None:
        """Stop serving."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()


async def start(
    *,
    authority: Authority,
    kube: Kube,
    names: Sequence[str],
    host: str,
    port: int,
    namespace: str,
    trust_domain: str,
    image: str,
    native: bool = True,
    by_node: bool = False,
    pull_secrets: tuple[str, ...] = (),
    templates: Callable[[], Templates] = Templates,
    others: Callable[[], Snapshot] = Snapshot,
) -> Service:
    """Serve POST /inject on host:port (0: any), and the validation of objects beside the `others`.

    Raises `EnvironmentProblem` if the port is taken.
    """

    def config() -> Config:
        shared = proxy_config(
            authority, namespace=namespace, trust_domain=trust_domain, image=image, pull_secrets=pull_secrets
        )
        return replace(shared, native=native, by_node=by_node, templates=templates())

    leaving = asyncio.Event()

    @web.middleware
    async def last(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if leaving.is_set():
            response.force_close()
        return response

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[last])
    app.router.add_post("/inject", _handler(config))
    app.router.add_post(admission.PATH, _validator(others))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, authority, names)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=context)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise EnvironmentProblem(
            f"the webhook's port {port} cannot be opened: {error.strerror}", fix="choose another --webhook-port"
        ) from error
    tasks = (
        asyncio.create_task(_keep_bundle(kube, authority), name="webhook-bundle"),
        asyncio.create_task(_keep_certificate(context, authority, names), name="webhook-certificate"),
    )
    return Service(runner, int(runner.addresses[0][1]), tasks, leaving)


def proxy_config(
    authority: Authority, *, namespace: str, trust_domain: str, image: str, pull_secrets: tuple[str, ...] = ()
) -> Config:
    """What every proxy of the mesh is told, with the roots of this moment."""
    return Config(
        image=image,
        root_pem=authority.trust_bundle_pem().decode(),
        control_plane=f"refmesh.{namespace}.svc",
        trust_domain=trust_domain,
        pull_secrets=pull_secrets,
    )


def review(body: bytes, config: Config) -> dict[str, Any]:
    """Answer one AdmissionReview. Raises ValueError if it is none."""
    try:
        message = json.loads(body)
        request = message["request"]
        uid, pod = request["uid"], request["object"]
        version = str(message.get("apiVersion") or "admission.k8s.io/v1")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not an AdmissionReview") from error
    if not isinstance(uid, str) or not isinstance(pod, dict):
        raise ValueError("not an AdmissionReview")  # noqa: TRY004  (a value's fault, not a type's)
    return {"apiVersion": version, "kind": "AdmissionReview", "response": {"uid": uid} | _response(pod, config)}


def _response(pod: dict[str, Any], config: Config) -> dict[str, Any]:
    try:
        # The selectors vouch for the namespace: without its label only pods that ask by themselves get here.
        result = patch(pod, {NAMESPACE_LABEL: "enabled"}, config)
    except BadPod as error:
        _REVIEWS.labels("denied").inc()
        return refusal(f"refmesh cannot inject this pod: {error}")
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        # Not a pod at all. Letting it through uninjected would put plaintext where the user asked for mTLS.
        _REVIEWS.labels("malformed").inc()
        log.warning("a pod could not be read: %s: %s", type(error).__name__, error)
        return refusal("refmesh cannot read this pod")
    if isinstance(result, Skip):
        _REVIEWS.labels("skipped").inc()
        return {"allowed": True}
    _REVIEWS.labels("injected").inc()
    response = {
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": base64.b64encode(json.dumps(result, separators=(",", ":")).encode()).decode(),
    }
    found = warnings(pod, config.templates)
    return response | {"warnings": found} if found else response


def refusal(message: str) -> dict[str, Any]:
    """Say no, with a sentence for the pod's author."""
    return {"allowed": False, "status": {"code": 400, "message": message}}


def _handler(config: Callable[[], Config]) -> Any:
    async def inject(request: web.Request) -> web.Response:
        with _SECONDS.time():
            try:
                return web.json_response(review(await request.read(), config()))
            except ValueError as error:
                _REVIEWS.labels("malformed").inc()
                return web.Response(status=400, text=f"{error}\n")

    return inject


def _validator(others: Callable[[], Snapshot]) -> Any:
    async def validate(request: web.Request) -> web.Response:
        try:
            body = await request.clone(client_max_size=_MAX_REVIEW_BYTES).read()
            return web.json_response(admission.review(body, "cluster.local", others()))
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")

    return validate


def _load(context: ssl.SSLContext, authority: Authority, names: Sequence[str]) -> None:
    """Load a fresh certificate; connections from now on get it. The key passes through memory, not through a file."""
    chain, key = authority.server_credentials(names)
    file = os.memfd_create("webhook")
    try:
        os.write(file, chain + key)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


async def _keep_certificate(context: ssl.SSLContext, authority: Authority, names: Sequence[str]) -> None:
    known, wait = authority.trust.generation, _RENEW_SECONDS
    while True:
        known = await authority.changed(known, wait)
        try:
            _load(context, authority, names)
        except (RefmeshError, ValueError, OSError) as error:
            log.warning("the webhook's certificate cannot be renewed: %s", error)
            wait = _CHECK_SECONDS
        else:
            wait = _RENEW_SECONDS


async def _keep_bundle(kube: Kube, authority: Authority) -> None:
    """Keep the roots in the webhook configuration, so that the API server trusts this webhook; also after an edit."""
    while True:
        known = authority.trust.generation
        bundle = base64.b64encode(authority.trust_bundle_pem()).decode()
        try:
            wait = _CHECK_SECONDS if await set_bundle(kube, bundle) else _RETRY_SECONDS
        except Conflict:
            wait = 0.0
        except (KubeError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("the webhook configuration cannot be updated: %s", error)
            wait = 5.0
        await authority.changed(known, wait)


async def set_bundle(kube: Kube, bundle: str) -> bool:
    """Write the bundle into every webhook that lacks it; False if nothing tells the API server to inject (yet)."""
    # Validation first: where injection is trusted, an installation counts as complete.
    await _set_bundle(kube, "validatingwebhookconfigurations", VALIDATOR, bundle)
    return await _set_bundle(kube, "mutatingwebhookconfigurations", CONFIGURATION, bundle)


async def _set_bundle(kube: Kube, plural: str, name: str, bundle: str) -> bool:
    api = "admissionregistration.k8s.io/v1"
    configuration = await kube.get(api, plural, name)
    if configuration is None:
        return False
    stale = [hook for hook in configuration["webhooks"] if hook["clientConfig"].get("caBundle") != bundle]
    for hook in stale:
        hook["clientConfig"]["caBundle"] = bundle
    if stale:
        # a replacement, so that two control planes cannot mix their edits
        await kube.replace(api, plural, name, configuration)
        log.info("%s has the mesh's root now", name)
    return True
