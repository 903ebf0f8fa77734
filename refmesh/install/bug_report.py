"""`refmesh bug-report`: one archive with all that somebody needs who was not there, and no secrets.

Each part stands for itself: one that cannot be had becomes a file that says why, and the report goes on.
"""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from refmesh.api.kinds import KINDS
from refmesh.config.served import listed
from refmesh.errors import EnvironmentProblem, RefmeshError
from refmesh.injector.policy import CONFIGURATION, PROXY, VALIDATOR, has_proxy
from refmesh.install import nodes
from refmesh.install.check import check
from refmesh.install.debug import debug_pages
from refmesh.install.installer import installed_image
from refmesh.install.manifests import DEPLOYMENT
from refmesh.install.options import NAMESPACE, NODE_NAMESPACE
from refmesh.install.proxies import envoy_config
from refmesh.install.redaction import clean, clean_text
from refmesh.install.serving import is_ready
from refmesh.kubeclient import NotServed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from refmesh.kubeclient import Kube

__all__ = ["Report", "collect", "write"]

_PAGES = ("proxies", "rejected", "certificates")
_WITH_PROXY = ("security.istio.io/tlsMode=istio", "app.kubernetes.io/managed-by=refmesh")
"""Selectors of the injected pods, and of the gateways and whatever else is refmesh's own."""
_LOG_LINES, _LOG_BYTES = "5000", str(2 << 20)
_AT_ONCE = 4
_PART_SECONDS = 60.0


@dataclass
class Report:
    """The files of a report, by path; texts, already without secrets."""

    files: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """What could not be had, and why."""

    def put(self, path: str, value: Any) -> None:
        """Keep a part, without secrets: text as it is, anything else as YAML."""
        self.files[path] = clean_text(value) if isinstance(value, str) else _yaml(clean(value))


async def collect(kube: Kube, namespaces: tuple[str, ...], most_pods: int, tell: Callable[[str], None]) -> Report:
    """Gather everything. Proxies: of these namespaces (none: all), the first so many pods by name of each workload's.

    Raises `EnvironmentProblem` where there is no refmesh to report on.
    """
    image = await installed_image(kube)
    if image is None:
        raise EnvironmentProblem("refmesh is not installed on this cluster.", fix="Check --kubeconfig and --context.")
    report = Report()
    await _part(report, "versions.yaml", _versions(kube, image))
    await _part(report, "check.yaml", _findings(kube))
    for kind in KINDS:
        await _part(report, f"config/{kind.name}.yaml", listed(kube, kind))
    hooks = "admissionregistration.k8s.io/v1"
    await _part(report, "config/injector.yaml", kube.get(hooks, "mutatingwebhookconfigurations", CONFIGURATION))
    await _part(report, "config/validator.yaml", kube.get(hooks, "validatingwebhookconfigurations", VALIDATOR))
    tell(f"configuration: {len(KINDS)} kinds")
    await _control_plane(kube, report)
    tell("control plane: deployment, logs, events, what it says of proxies")
    await _node_agents(kube, report)
    pods = [pod for selector in _WITH_PROXY for pod in await kube.list("v1", "pods", selector=selector)]
    chosen = _chosen([pod for pod in pods if has_proxy(pod["spec"])], namespaces, most_pods)
    room = asyncio.Semaphore(_AT_ONCE)
    await asyncio.gather(*(_proxy(kube, report, room, pod) for pod in chosen))
    tell(f"proxies: {len(chosen)}")
    if report.missing:
        report.put("missing.yaml", report.missing)
    return report


def write(report: Report, path: Path) -> None:
    """Write the archive (tar, gzip), readable by its owner only."""
    path.touch(mode=0o600)
    now = int(time.time())
    with tarfile.open(path, "w:gz") as archive:
        for name, text in sorted(report.files.items()):
            data = text.encode()
            entry = tarfile.TarInfo(f"refmesh-bug-report/{name}")
            entry.size, entry.mtime, entry.mode = len(data), now, 0o600
            archive.addfile(entry, io.BytesIO(data))


async def _part(report: Report, path: str, work: Awaitable[Any]) -> None:
    """One part; whatever keeps it from being had is noted instead."""
    try:
        async with asyncio.timeout(_PART_SECONDS):
            report.put(path, await work)
    except NotServed:
        report.missing[path] = "the cluster does not know this kind"
    except (RefmeshError, aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        report.missing[path] = clean_text(str(error)) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - a report is wanted when things are odd: one part is not worth the rest
        report.missing[path] = f"{type(error).__name__}: {clean_text(str(error))}"


async def _versions(kube: Kube, image: str) -> dict[str, Any]:
    deployment = await kube.get("apps/v1", "deployments", DEPLOYMENT, NAMESPACE) or {}
    nodes = await kube.list("v1", "nodes")
    return {
        "image": image,
        "arguments": deployment["spec"]["template"]["spec"]["containers"][0].get("args") or [],
        "kubernetes": (await kube.request("GET", "/version")).get("gitVersion"),
        "nodes": [(node.get("status") or {}).get("nodeInfo") or {} for node in nodes],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


async def _findings(kube: Kube) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in await check(kube)]


async def _control_plane(kube: Kube, report: Report) -> None:
    home = "control-plane"
    await _part(report, f"{home}/deployment.yaml", kube.get("apps/v1", "deployments", DEPLOYMENT, NAMESPACE))
    await _part(report, f"{home}/events.yaml", kube.list("v1", "events", NAMESPACE))
    for page in _PAGES:
        await _part(report, f"{home}/{page}.yaml", debug_pages(kube, page))
    for pod in await kube.list("v1", "pods", NAMESPACE, "app=refmesh"):
        await _pod(kube, report, f"{home}/{pod['metadata']['name']}", pod, "refmesh")


async def _node_agents(kube: Kube, report: Report) -> None:
    for pod in await kube.list("v1", "pods", NODE_NAMESPACE, f"app={nodes.APP}"):
        home = f"nodes/{pod['spec'].get('nodeName')}/{pod['metadata']['name']}"
        await _pod(kube, report, home, pod, nodes.CONTAINER)


def _restarted(pod: dict[str, Any], container: str) -> bool:
    status = pod.get("status") or {}
    known = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    return any(one.get("name") == container and one.get("restartCount", 0) > 0 for one in known)


async def _pod(kube: Kube, report: Report, home: str, pod: dict[str, Any], container: str) -> None:
    """The pod, its container's log, and that of its run before where it was restarted."""
    report.put(f"{home}/pod.yaml", pod)
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    await _part(report, f"{home}/log.txt", _log(kube, namespace, name, container))
    if _restarted(pod, container):
        await _part(report, f"{home}/previous-log.txt", _log(kube, namespace, name, container, previous=True))


async def _log(kube: Kube, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
    query = {"container": container, "tailLines": _LOG_LINES, "limitBytes": _LOG_BYTES, "timestamps": "true"}
    return await kube.text(
        f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query | ({"previous": "true"} if previous else {})
    )


def _chosen(pods: list[dict[str, Any]], namespaces: tuple[str, ...], most: int) -> list[dict[str, Any]]:
    """The pods to look into: those that are not well first."""
    wanted = [pod for pod in pods if not namespaces or pod["metadata"]["namespace"] in namespaces]
    return sorted(wanted, key=lambda pod: (is_ready(pod), pod["metadata"]["namespace"], pod["metadata"]["name"]))[:most]


async def _proxy(kube: Kube, report: Report, room: asyncio.Semaphore, pod: dict[str, Any]) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    home = f"proxies/{namespace}/{name}"
    async with room:
        await _pod(kube, report, home, pod, PROXY)
        await _part(report, f"{home}/config.json", _dump(kube, name, namespace))


async def _dump(kube: Kube, name: str, namespace: str) -> str:
    return json.dumps(clean(await envoy_config(kube, name, namespace)), indent=1)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120)
