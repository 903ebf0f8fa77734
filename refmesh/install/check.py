"""`refmesh check`: is the mesh on this cluster well? Each finding is one line that a person can act on."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509

from refmesh.api.kinds import KINDS, Kind
from refmesh.config.conditions import conditions_of
from refmesh.config.served import listed
from refmesh.config.standing import ACCEPTED, PASSED, RESOLVED
from refmesh.injector.policy import CONFIGURATION, PROXY, ROOTS
from refmesh.injector.templates import CONFIG_MAP, of_config_map
from refmesh.install import addons, definitions, injected, nodes, proxies
from refmesh.install.installer import installed, reachable
from refmesh.install.options import NAMESPACE, NODE_NAMESPACE
from refmesh.install.prometheus import APP
from refmesh.kubeclient import NotServed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refmesh.kubeclient import Kube

__all__ = [
    "Finding",
    "check",
    "judge_kind",
    "judge_nodes",
    "judge_objects",
    "judge_prometheus",
    "judge_rejections",
    "judge_roots",
    "judge_secret",
    "judge_templates",
    "judge_webhooks",
]

_MIN_ISSUER_DAYS = 30
_MOST_NAMES = 5
_TAKEN = "proxies' configuration"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


async def check(kube: Kube) -> list[Finding]:
    """Look at everything; the list is complete even where things are missing."""
    version = await reachable(kube)
    findings = [Finding("cluster", ok=True, detail=f"Kubernetes {version}")]
    plane = await installed(kube)
    if plane is None:
        return [*findings, Finding("control plane", ok=False, detail="refmesh is not installed")]
    status = plane.deployment.get("status") or {}
    wanted, available = plane.deployment["spec"].get("replicas", 1), status.get("availableReplicas", 0)
    findings.append(
        Finding("control plane", ok=available >= wanted > 0, detail=f"{available} of {wanted} replicas ready")
    )
    findings.append(Finding("version", ok=True, detail=plane.image))
    defect = plane.argument("--defect")
    findings.append(Finding("defects", ok=not defect, detail=f"{defect} is switched on" if defect else "none"))
    secret = await kube.get("v1", "secrets", "refmesh-ca", NAMESPACE)
    findings.append(judge_secret(secret, datetime.now(UTC)))
    configuration = await kube.get("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", CONFIGURATION)
    findings.append(judge_webhooks(configuration, secret))
    findings.extend(judge_templates(await kube.get("v1", "configmaps", CONFIG_MAP, NAMESPACE)))
    findings.extend(found for one in await definitions.present(kube, KINDS) if (found := judge_kind(*one)))
    findings.append(judge_objects(await _objects(kube)))
    running = await injected.running(kube)
    findings.append(_proxies(running))
    if outdated := injected.outdated(running, plane.image):
        findings.append(Finding("proxies' image", ok=True, detail=outdated))  # they go on being served
    if running and (cramped := injected.cramped(running, await kube.list("v1", "services"))):
        findings.append(Finding("proxies' memory", ok=True, detail=cramped))  # they are well until then
    findings.extend(judge_roots(running, secret))
    findings.append(await _configurations(kube))
    if plane.argument("--capture") == "node":
        agents = await kube.list("v1", "pods", NODE_NAMESPACE, f"app={nodes.APP}")
        findings.append(judge_nodes(await kube.list("v1", "nodes"), agents))
    if (prometheus := await addons.deployed(kube)) is not None:
        findings.append(judge_prometheus(prometheus))
    return findings


def judge_secret(secret: Mapping[str, Any] | None, now: datetime) -> Finding:
    """Judge the CA's certificates by their remaining time."""
    if secret is None:
        return Finding("certificates", ok=False, detail="the control plane has not made its CA yet")
    try:
        found = [
            x509.load_pem_x509_certificate(base64.b64decode(secret["data"][key]))
            for key in ("root-cert.pem", "ca-cert.pem")
        ]
    except (KeyError, ValueError, TypeError):
        return Finding("certificates", ok=False, detail="Secret refmesh-ca is damaged")
    end = min(certificate.not_valid_after_utc for certificate in found)
    days = (end - now).days
    return Finding("certificates", ok=days >= _MIN_ISSUER_DAYS, detail=f"root and issuer are valid for {days} days")


def judge_webhooks(configuration: Mapping[str, Any] | None, secret: Mapping[str, Any] | None) -> Finding:
    """Judge whether the API server trusts the injector: the bundle must be the CA's own root."""
    if configuration is None:
        return Finding("injection webhook", ok=False, detail="it is not registered")
    root = ((secret or {}).get("data") or {}).get("root-cert.pem", "")
    hooks = configuration.get("webhooks") or []
    wrong = [hook["name"] for hook in hooks if not root or hook["clientConfig"].get("caBundle") != root]
    if wrong or not hooks:
        return Finding(
            "injection webhook", ok=False, detail=f"{', '.join(wrong) or 'no hook'} does not trust the CA's root"
        )
    return Finding("injection webhook", ok=True, detail=f"{len(hooks)} hooks trust the CA's root")


def judge_prometheus(deployment: Mapping[str, Any]) -> Finding:
    """Judge the add-on by its Deployment."""
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    if (deployment.get("status") or {}).get("availableReplicas", 0):
        return Finding("Prometheus", ok=True, detail=f"{image} is ready")
    why = f"see kubectl -n {NAMESPACE} describe pod -l app={APP}"
    return Finding("Prometheus", ok=False, detail=f"{image} is not ready: {why}")


def judge_templates(config_map: Mapping[str, Any] | None) -> list[Finding]:
    """Judge the injector's templates, if there are any."""
    found = of_config_map(config_map)
    if found.bad:
        return [Finding("injector templates", ok=False, detail="; ".join(found.bad.values()))]
    if found.named:
        used = f"{', '.join(found.named)} (by default: {', '.join(found.defaults)})"
        return [Finding("injector templates", ok=True, detail=used)]
    return []


def judge_nodes(found: Sequence[Mapping[str, Any]], agents: Sequence[Mapping[str, Any]]) -> Finding:
    """Judge whether injected pods can start on every node: without its agent they wait."""
    if without := nodes.lacking(found, agents):
        some = ", ".join(without[:_MOST_NAMES]) + (" and others" if len(without) > _MOST_NAMES else "")
        why = f"see kubectl -n {NODE_NAMESPACE} get pods -o wide"
        return Finding("node agents", ok=False, detail=f"{len(without)} of {len(found)} nodes lack one ({some}): {why}")
    return Finding("node agents", ok=True, detail=f"ready on {len(found)} nodes")


def judge_objects(objects: Sequence[tuple[str, Mapping[str, Any]]]) -> Finding:
    """Judge objects of Istio's kinds, each with its kind, by what their statuses say."""
    wrong, unread = list[str](), 0
    for kind, obj in objects:
        metadata, status = obj["metadata"], obj.get("status")
        said = {item["type"]: item for item in conditions_of(status)}
        if PASSED not in said or (status or {}).get("observedGeneration") != metadata.get("generation"):
            unread += 1
        elif said[PASSED].get("status") == "False":
            # The first of them that is not so says why; where none is, a part of the object is not in force.
            so = (said[name] for name in (ACCEPTED, RESOLVED) if name in said)
            why = next((item for item in so if item.get("status") == "False"), said.get(ACCEPTED, {}))
            wrong.append(f"{kind} {metadata['namespace']}/{metadata['name']}: {why.get('message', '')}")
    later = f"; {unread} not judged yet" if unread else ""
    if not wrong:
        return Finding("objects", ok=True, detail=f"{len(objects) - unread} of Istio's kinds have no errors{later}")
    return Finding("objects", ok=False, detail=f"{len(wrong)} of {len(objects)} have errors: {_first(wrong)}{later}")


def judge_rejections(connected: Sequence[Mapping[str, Any]], silent: int = 0) -> Finding:
    """Judge whether proxies take what they are sent, by what the control plane tells of those that are connected.

    `silent`: so many of its replicas did not tell. What their proxies do is not known, and not called well.
    """
    unheard = f"; {silent} replica{'s' if silent > 1 else ''} did not answer" if silent else ""
    wrong = [
        f"{proxy.get('proxy')} keeps its old {kind}: {state['rejected']}"
        for proxy in connected
        for kind, state in (proxy.get("types") or {}).items()
        if state.get("rejected")
    ]
    if not wrong:
        return Finding(_TAKEN, ok=not silent, detail=f"none of {len(connected)} connected proxies rejects any{unheard}")
    some = len({text.partition(" ")[0] for text in wrong})
    return Finding(_TAKEN, ok=False, detail=f"rejected by {some} of {len(connected)} proxies: {_first(wrong)}{unheard}")


def _first(wrong: Sequence[str]) -> str:
    more = f"; and {len(wrong) - _MOST_NAMES} more" if len(wrong) > _MOST_NAMES else ""
    return "; ".join(wrong[:_MOST_NAMES]) + more


async def _objects(kube: Kube) -> list[tuple[str, Mapping[str, Any]]]:
    """All objects of Istio's kinds, each with its kind."""

    async def of(kind: Kind) -> list[tuple[str, Mapping[str, Any]]]:
        try:
            return [(kind.written or kind.name, obj) for obj in await listed(kube, kind)]
        except NotServed:
            return []

    return [one for found in await asyncio.gather(*(of(kind) for kind in KINDS if kind.of_istio)) for one in found]


def judge_kind(kind: Kind, definition: Mapping[str, Any] | None) -> Finding | None:
    """Judge whether a kind can be written, and whether what is written is read.

    None where there is nothing to tell: of Gateway API the kind that nobody is without stands for the others.
    """
    name, told = f"{kind.plural}.{kind.group}", kind.of_istio or kind.name == "HTTPRoute"
    if definition is not None and (problem := definitions.unread(kind, definition)):
        return Finding(name, ok=False, detail=f"{problem}: its objects are not in force")
    if not told:
        return None
    if definition is not None:
        return Finding(name, ok=True, detail=f"served as {', '.join(definitions.served(definition))}")
    if kind.of_istio:
        return Finding(name, ok=False, detail="the kind is not installed")
    return Finding(name, ok=True, detail="not installed: Gateway API is not used")


def judge_roots(running: Sequence[Mapping[str, Any]], secret: Mapping[str, Any] | None) -> list[Finding]:
    """Say which pods live on roots that they were told since: a restart of their node takes those away.

    They are well until then, so that this is no fault of the mesh; where there are none, nothing is said.
    """
    encoded = ((secret or {}).get("data") or {}).get("root-cert.pem", "")
    try:
        current = _blocks(base64.b64decode(encoded).decode())
    except ValueError:
        return []  # as judge_secret says
    found = [pod for pod in running if (known := _told(pod)) and current and not current & _blocks(known)]
    if not found:
        return []
    what = "do not have the present root in their specification and would not come back if their node restarted"
    some = injected.some_of(found)
    return [Finding("roots", ok=True, detail=f"{len(found)} pods {what}; restart their workloads: {some}")]


def _told(pod: Mapping[str, Any]) -> str:
    """The roots that the injector wrote into a pod."""
    variables = injected.proxy(pod).get("env") or ()
    return next((str(one.get("value") or "") for one in variables if one.get("name") == ROOTS), "")


def _blocks(pem: str) -> set[str]:
    """The certificates of a bundle, however they are spaced."""
    return {"".join(block.split()) for block in pem.split("-----END CERTIFICATE-----") if block.strip()}


def _proxies(running: Sequence[Mapping[str, Any]]) -> Finding:
    ready = [pod for pod in running if _proxy_ready(pod)]
    detail = f"{len(ready)} of {len(running)} running injected pods have a ready proxy"
    return Finding("proxies", ok=len(ready) == len(running), detail=detail)


async def _configurations(kube: Kube) -> Finding:
    try:
        return judge_rejections(*await proxies.heard_of(kube))
    except Exception as error:  # noqa: BLE001 - the list is complete even where an answer is none
        why = str(error) or type(error).__name__
        return Finding(_TAKEN, ok=False, detail=f"nobody says whether it was rejected: {why}")


def _proxy_ready(pod: Mapping[str, Any]) -> bool:
    status = pod["status"]
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return any(status["name"] == PROXY and status.get("ready") for status in statuses)
