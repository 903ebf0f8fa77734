"""Install and uninstall: what is put on the cluster, in which order, and what is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.ingress.names import GATEWAY_LABEL
from refmesh.ingress.objects import CLASSIC
from refmesh.injector.patch import TLS_MODE_LABEL, Config
from refmesh.install import addons, definitions, injected, manifests, nodes, templates
from refmesh.install.apply import MANAGED, apply, delete, plural_of, wait_gone
from refmesh.install.crds import crds
from refmesh.install.options import NAMESPACE
from refmesh.install.rollout import remove_stuck_pods, wait_rolled_out
from refmesh.install.serving import wait_until_serving
from refmesh.install.statuses import forget_statuses
from refmesh.kubeclient import KubeError, NotServed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from refmesh.install.options import Options
    from refmesh.kubeclient import Kube

__all__ = ["Installed", "Plan", "install", "installed", "installed_image", "uninstall"]

Object = dict[str, Any]
_PODS_GONE_SECONDS = 60.0
_WAITING_SECONDS = 20.0
_OLDEST, _NATIVE = (1, 21), (1, 29)
"""Kubernetes versions: of the API groups in use, and of native sidecars by default."""


@dataclass(frozen=True)
class Plan:
    """What to install."""

    image: str
    options: Options
    defect: str | None = None
    gateway_api: Path | None = None
    timeout: float = 120.0
    """Seconds until the control plane must serve."""
    given: templates.Given = field(default_factory=templates.Given)
    """The injector's templates."""

    def objects(self) -> list[Object]:
        """Everything but Gateway API's CRDs."""
        control_plane = manifests.control_plane(self.image, self.options, self.defect, self.given)
        agents = nodes.node_objects(self.image, self.options)
        return [*crds(), *control_plane, *agents, *addons.addon_objects(self.options)]


async def install(kube: Kube, plan: Plan, report: Callable[[str], None]) -> None:
    """Put refmesh on the cluster and wait until it serves. Raises `EnvironmentProblem`."""
    version = await preflight(kube)
    await _keep_trust_domain(kube, plan.options.trust_domain)
    await nodes.preflight(kube, plan.options)
    await definitions.preflight(kube, plan.gateway_api)
    plan = replace(plan, options=replace(plan.options, sidecar=sidecar_form(plan.options.sidecar, version)))
    native, by_node = plan.options.sidecar == "native", plan.options.capture == "node"
    await templates.try_out(kube, plan.given, Config(plan.image, "", native=native, by_node=by_node))
    if plan.options.sidecar == "classic":
        report(f"classic sidecars (Kubernetes {version})")
    namespace, *rest = manifests.control_plane(plan.image, plan.options, plan.defect, plan.given)
    await apply(kube, namespace)
    # Definitions and control plane side by side: when its process listens, the kinds are long established.
    # An add-on's image is pulled meanwhile; it is waited for last, so that a mesh without its add-on serves as well.
    addon, agents, *_ = await asyncio.gather(
        addons.put(kube, plan.options, report),
        nodes.put(kube, plan.image, plan.options),
        definitions.put_own(kube, report),
        definitions.put_gateway_api(kube, plan.gateway_api, plan.options, report),
        _install_control_plane(kube, rest, plan, report),
    )
    # Not before the control plane that opens none: another would write them anew.
    if plan.options.gateways == "off":
        if closed := await _close_gateways(kube):
            report(f"{closed} gateway workloads taken away: --set gateways=false was given")
        # Each time: an install before this one may have been cut short. What was said of routes the control plane
        # corrects by itself: it still says what becomes of them at Services.
        await forget_statuses(kube, report, only=("Gateway", "GatewayClass"))
    if agents is not None:
        await nodes.wait(kube, agents, plan.timeout, report)
    # Not before the control plane that injects otherwise: pods in between would wait for nobody.
    elif await nodes.remove(kube, patience=_WAITING_SECONDS):
        report("the agents on the nodes taken away: create the pods that they captured anew")
        if late := await nodes.waiting(kube):
            report(f"{len(late)} pods wait for an agent that will not come, such as {late[0]}: delete them")
    if addon is not None:
        await addons.wait(kube, addon, plan.timeout, report)
    elif plan.options.profile == "demo":
        report("Prometheus: not installed; --set addons.prometheus=true adds it, where its image can be had")
    if outdated := injected.outdated(await injected.running(kube), plan.image):
        report(outdated)


async def _keep_trust_domain(kube: Kube, wanted: str) -> None:
    """Raises `EnvironmentProblem` for another domain than the mesh's: old and new proxies would refuse each other."""
    plane = await installed(kube)
    present = plane.argument("--trust-domain") if plane else ""
    if present and present != wanted:
        raise EnvironmentProblem(
            f"The trust domain of the mesh on this cluster is {present}, not {wanted}: its proxies would be cut off.",
            fix=f"Give --set trust_domain={present}; for another one uninstall first.",
        )


async def _install_control_plane(
    kube: Kube, objects: Sequence[Object], plan: Plan, report: Callable[[str], None]
) -> None:
    *others, deployment = objects
    (role,) = (obj for obj in others if obj["kind"] == "ClusterRole")
    wider = await _with_present_rules(kube, role)
    before = [wider if obj is role else obj for obj in others]
    await asyncio.gather(remove_stuck_pods(kube, manifests.DEPLOYMENT), *(apply(kube, obj) for obj in before))
    applied = await apply(kube, deployment)
    report(f"control plane {plan.image}")
    await wait_rolled_out(kube, applied, timeout=plan.timeout, name="The control plane", other="--image")
    report("control plane ready")
    if wider != role:
        await apply(kube, role)
    await wait_until_serving(kube)
    report("injection webhook answers")


async def _with_present_rules(kube: Kube, role: Object) -> Object:
    """The role with what it allows now as well: the control plane before needs that until another one runs."""
    present = await kube.get(role["apiVersion"], plural_of(role["kind"]), role["metadata"]["name"]) or {}
    more = [rule for rule in present.get("rules") or () if rule not in role["rules"]]
    return role | {"rules": [*role["rules"], *more]}


@dataclass(frozen=True)
class Installed:
    """The control plane that is on the cluster, by its Deployment."""

    deployment: Object

    @property
    def image(self) -> str:
        """Its image, which is the proxies' as well."""
        return str(self._container["image"])

    def argument(self, name: str) -> str:
        """What it was started with under a name such as --sidecar; empty where it was not given."""
        given = self._container.get("args") or []
        return str(given[given.index(name) + 1]) if name in given[:-1] else ""

    @property
    def _container(self) -> Object:
        return dict(self.deployment["spec"]["template"]["spec"]["containers"][0])


async def installed(kube: Kube) -> Installed | None:
    """Return the control plane on the cluster, or None where there is none."""
    found = await kube.get("apps/v1", "deployments", manifests.DEPLOYMENT, NAMESPACE)
    return Installed(found) if found else None


async def installed_image(kube: Kube) -> str | None:
    """Return the image of the control plane on the cluster, or None where there is none."""
    found = await installed(kube)
    return found.image if found else None


async def uninstall(
    kube: Kube, report: Callable[[str], None], note: Callable[[str], None] | None = None, *, purge: bool = False
) -> None:
    """Take refmesh off the cluster. CRDs it installed go too unless objects of theirs are left (`purge`: even then).

    `report` is told what is gone, `note` what is not, and why; without it `report` is told that as well.
    """
    note = note or report
    # The webhook first: from then on pods can be created whatever else happens.
    await delete(kube, manifests.webhooks())
    report("injection webhook")
    image = await installed_image(kube) or "none"
    namespace, *rest = manifests.control_plane(image, _any_options())
    deployment = rest[-1]
    there = await delete(kube, deployment)
    # The end of a namespace ends its pods at once; the garbage collector may take a minute for a Deployment's.
    await delete(kube, namespace)
    await _control_plane_gone(kube)
    if there:
        report("control plane")
    if gateways := await _close_gateways(kube):
        report(f"{gateways} gateway workloads")
    if await nodes.remove(kube):
        report("the agents on the nodes")
    cluster_wide = [obj for obj in rest if "namespace" not in obj["metadata"]] + addons.cluster_wide()
    await asyncio.gather(*(delete(kube, obj) for obj in cluster_wide))
    await _delete_definitions(kube, report, note, purge=purge)
    await forget_statuses(kube, note)
    # Last of all: what a node that is lost holds up is held up alone.
    gone = await asyncio.gather(
        wait_gone(kube, namespace, timeout=_PODS_GONE_SECONDS), nodes.wait_removed(kube), return_exceptions=True
    )
    if gone[0] is None:
        report(f"namespace {NAMESPACE}")
    if left := len(await kube.list("v1", "pods", selector=f"{TLS_MODE_LABEL}=istio")):
        note(f"{left} pods still have their proxy: create them anew to take it away")
    for problem in gone:
        if problem is not None:
            raise problem


async def _control_plane_gone(kube: Kube) -> None:
    """Wait until no replica runs: as long as one does, it makes anew what Gateways need.

    On a node that is lost nobody says that it does not; the namespace's end, which is waited for later, tells that.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PODS_GONE_SECONDS):
            while await kube.list("v1", "pods", NAMESPACE, "app=refmesh"):  # noqa: ASYNC110 - the event is elsewhere
                await asyncio.sleep(0.2)


async def _close_gateways(kube: Kube) -> int:
    """Delete what was made for Gateways, which may stay themselves, and their class; the number of workloads."""
    found, selectors = 0, (GATEWAY_LABEL, f"app={CLASSIC}")
    for api, kind in (("v1", "Service"), ("apps/v1", "Deployment"), ("v1", "ServiceAccount")):
        answers = [await kube.list(api, plural_of(kind), selector=f"{MANAGED}=refmesh,{one}") for one in selectors]
        objects = [obj for answer in answers for obj in answer]
        await asyncio.gather(*(delete(kube, obj | {"apiVersion": api, "kind": kind}) for obj in objects))
        found = max(found, len(objects))
    with contextlib.suppress(NotServed, KubeError):
        await delete(kube, manifests.gateway_class())
    return found


def _any_options() -> Options:
    from refmesh.install.options import Options  # for names only: nothing of its values is deleted

    return Options()


async def _delete_definitions(
    kube: Kube, report: Callable[[str], None], note: Callable[[str], None], *, purge: bool
) -> None:
    mine = await kube.list(definitions.API, plural_of("CustomResourceDefinition"), selector=f"{MANAGED}=refmesh")
    removed, kept = list[Object](), list[Object]()
    for definition in mine:
        # kubeclient's list leaves the kind out, as the API server does in lists
        definition |= {"apiVersion": definitions.API, "kind": "CustomResourceDefinition"}
        (removed if purge or not await _has_objects(kube, definition) else kept).append(definition)
    await asyncio.gather(*(delete(kube, definition) for definition in removed))
    await asyncio.gather(*(wait_gone(kube, definition, timeout=30.0) for definition in removed))
    if removed:
        report(f"{len(removed)} kinds")
    for definition in kept:
        note(f"kept {definition['metadata']['name']}: there are objects of this kind (--purge deletes them)")


async def _has_objects(kube: Kube, definition: Object) -> bool:
    spec = definition["spec"]
    version = next(version["name"] for version in spec["versions"] if version["served"])
    try:
        return bool(await kube.list(f"{spec['group']}/{version}", spec["names"]["plural"]))
    except NotServed:
        return False


def check_image(image: str | None) -> str:
    """Return the image, or raise `UsageProblem` that says how to give one."""
    if not image:
        raise UsageProblem(
            "No image of the control plane was named, and the cluster is none that meshproof or kind made here.",
            fix="`meshproof image product` builds one; put it where the nodes can pull it, and give --image NAME "
            "(or set REFMESH_IMAGE).",
        )
    return image


async def preflight(kube: Kube) -> str:
    """Return the cluster's version. Raises `EnvironmentProblem` for what makes an installation useless or harmful."""
    version = await reachable(kube)
    if not new_enough(version, _OLDEST):
        raise EnvironmentProblem(
            f"This cluster runs Kubernetes {version}; refmesh needs 1.21 or later, which has discovery.k8s.io/v1."
        )
    hooks = await kube.list("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
    if others := [name for hook in hooks if (name := hook["metadata"]["name"]).startswith("istio-sidecar-injector")]:
        raise EnvironmentProblem(
            f"Istio is installed on this cluster ({others[0]}) and reads the same labels and kinds.",
            fix="Uninstall it first, or choose another cluster.",
        )
    own = await kube.get("v1", "services", "kubernetes", "default") or {}
    if (own.get("spec") or {}).get("ipFamilies") == ["IPv6"]:
        raise EnvironmentProblem(
            "Services of this cluster have IPv6 addresses, and refmesh's proxies speak IPv4 alone.",
            fix="Choose a cluster whose first family is IPv4.",
        )
    return version


def sidecar_form(wanted: str, version: str) -> str:
    """Return native or classic, for a wish that may be auto. Raises `EnvironmentProblem` for one that cannot be met."""
    able = new_enough(version, _NATIVE)
    if wanted == "native" and not able:
        raise EnvironmentProblem(
            f"This cluster runs Kubernetes {version}; native sidecars need 1.29 or later.",
            fix="Leave --set sidecar=native out, or say classic.",
        )
    return "native" if able and wanted != "classic" else "classic"


def new_enough(version: str, least: tuple[int, int]) -> bool:
    """Whether a Kubernetes version, such as v1.31.2-gke.7, is as new as `least`; an unreadable one may be."""
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return match is None or (int(match[1]), int(match[2])) >= least


async def reachable(kube: Kube) -> str:
    """Return the API server's version. Raises `EnvironmentProblem` in one sentence if it does not answer."""
    try:
        return str((await kube.request("GET", "/version")).get("gitVersion", "unknown"))
    except KubeError as error:
        raise EnvironmentProblem(f"The API server refuses: {error.problem}") from error
    except (OSError, TimeoutError) as error:
        raise EnvironmentProblem(
            f"The API server does not answer: {error}.", fix="Check --kubeconfig and --context."
        ) from error
