"""Which mesh a cluster has: facts as values, and what they suggest. Pure; `meshproof features` gathers the facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.adapters.installed import major

__all__ = ["BY_ROUTES", "Deployment", "GatewayClass", "Proposal", "Seen", "instead", "mesh_named", "propose"]


@dataclass(frozen=True)
class Deployment:
    """A Deployment that may be a control plane."""

    namespace: str
    name: str
    version: str
    available: bool
    states: tuple[str, ...] = ()
    """What it says of its mesh's settings, `key=value` each, where they are not the usual ones."""
    problem: str = ""
    """What it says that keeps its mesh from being judged by them."""


@dataclass(frozen=True)
class GatewayClass:
    """A GatewayClass and what its controller says of it."""

    name: str
    controller: str
    accepted: bool
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a cluster shows of its meshes."""

    kubernetes: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """API groups of custom resources: group -> kinds."""
    webhooks: tuple[str, ...] = ()
    """Names of mutating webhook configurations."""
    classes: tuple[GatewayClass, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    gateway_api: str = ""
    """Bundle version of the Gateway API's definitions."""


@dataclass(frozen=True)
class Proposal:
    """A mesh to judge, and how."""

    mesh: str
    settings: tuple[str, ...]
    """`key=value` each, for `--set`."""
    profile: str
    because: tuple[str, ...]
    problem: str = ""
    """Why it cannot be judged right now."""
    instead_of: str = ""
    """The meshes in whose place it can be judged, if the user wants that; "" where it is what was looked for."""

    @property
    def flags(self) -> tuple[str, ...]:
        """For `meshproof conformance` and `meshproof run`."""
        given = tuple(word for setting in self.settings for word in ("--set", setting))
        return ("--mesh", self.mesh, *given, "--profile", self.profile)


@dataclass(frozen=True)
class Sign:
    """How a mesh shows: its control plane's Deployment, and its webhook or the group of its kinds beside it."""

    mesh: str
    deployment: str
    """Pattern of the whole name."""
    usual: tuple[str, str]
    """Namespace and name that the adapter expects without settings."""
    webhook: str = ""
    group: str = ""
    profile: str = "full"
    network: bool = False
    """Whether it is a mesh only with an accepted GatewayClass; without one it is the cluster's network."""


SIGNS = (
    Sign("refmesh", r"refmesh", ("refmesh-system", "refmesh"), webhook="refmesh"),
    Sign("istio", r"istiod(-[a-z0-9-]+)?", ("istio-system", "istiod"), webhook="istio", group="networking.istio.io"),
    Sign("linkerd", r"linkerd-destination", ("linkerd", "linkerd-destination"), "linkerd", "policy.linkerd.io"),
    # Kong Mesh is Kuma by another name, and its control plane has that.
    Sign("kuma", r"(kuma|kong-mesh)-control-plane", ("kuma-system", "kuma-control-plane"), "kuma", "kuma.io"),
    Sign(
        "consul",
        r"(.*-)?connect-injector",
        ("consul", "consul-connect-injector"),
        webhook="consul",
        group="consul.hashicorp.com",
        profile="mtls",  # a group at a time, and of those whose pods it starts at all
    ),
    Sign("cilium", r"cilium-operator", ("kube-system", "cilium-operator"), group="cilium.io", network=True),
)
ROUTES = "gateway.networking.k8s.io"
BY_ROUTES = "gateway-api"
"""The adapter of any mesh that serves routes."""
ISTIOS_GATEWAYS = "istio.io/gateway-controller"


def mesh_named(deployment: str) -> str:
    """The mesh whose control plane would be called like this Deployment; "" where none would."""
    return next((sign.mesh for sign in SIGNS if re.fullmatch(sign.deployment, deployment)), "")


def propose(seen: Seen) -> tuple[Proposal, ...]:
    """The meshes that a cluster seems to have, the likeliest first; by the Gateway API alone where none is known."""
    found = [proposal for sign in SIGNS for proposal in _by(sign, seen)]
    if not found and "HTTPRoute" in seen.groups.get(ROUTES, ()):
        found.append(Proposal(BY_ROUTES, (), "routing", (_knows_routes(seen),)))
    return tuple(sorted(found, key=lambda one: bool(one.problem)))


def instead(seen: Seen, found: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """By the Gateway API alone, where the adapter of no mesh that was found can judge it: a choice of the user's.

    There must be somebody who may serve the routes, and whose word is an accepted GatewayClass. What keeps a mesh from
    being judged keeps its routes from it too (nobody serves, or nobody is let in): its own class may be a leftover.
    """
    if not found or not all(one.problem for one in found) or "HTTPRoute" not in seen.groups.get(ROUTES, ()):
        return ()
    meshes = tuple(dict.fromkeys(one.mesh for one in found))
    classes = [one for one in seen.classes if one.accepted and not any(mesh in one.controller for mesh in meshes)]
    if not classes:
        return ()
    because = (
        _knows_routes(seen),
        *map(_may_serve, classes),
        *(f"{one.mesh} cannot be judged by its own adapter: {one.problem}" for one in found),
    )
    return (Proposal(BY_ROUTES, (), "routing", because, instead_of=", ".join(meshes)),)


def _knows_routes(seen: Seen) -> str:
    return f"the cluster knows HTTPRoute (Gateway API {seen.gateway_api or 'of unknown version'})"


def _may_serve(one: GatewayClass) -> str:
    """What a GatewayClass says of routes that have a Service as their parent: the feature `Mesh`."""
    said = "serves a mesh" if "Mesh" in one.features else "is accepted, and does not say whether it serves a mesh"
    return f"GatewayClass {one.name} of {one.controller} {said}"


def _by(sign: Sign, seen: Seen) -> Iterable[Proposal]:
    for one in seen.deployments:
        if not re.fullmatch(sign.deployment, one.name):
            continue
        because = [f"Deployment {one.namespace}/{one.name}" + (f", {one.version}" if one.version else "")]
        because += [f"webhook {name}" for name in seen.webhooks if sign.webhook and sign.webhook in name]
        if sign.group and sign.group in seen.groups:
            because.append(f"kinds of {sign.group}")
        if len(because) < 2:
            continue  # a name alone is no mesh
        classes = [f"GatewayClass {one.name}" for one in seen.classes if sign.mesh in one.controller and one.accepted]
        because += classes
        if one.states:
            because.append(f"it is installed with {', '.join(one.states)}")
        problem = "" if one.available else f"the control plane {one.namespace}/{one.name} is not available"
        problem = problem or one.problem
        if sign.network and not classes:
            problem = problem or f"no GatewayClass of {sign.mesh} is accepted: it may be the cluster's network only"
        yield Proposal(sign.mesh, tuple(_settings(sign, one, seen)), sign.profile, tuple(because), problem)


def _settings(sign: Sign, one: Deployment, seen: Seen) -> Iterable[str]:
    """What the adapter must be told where an installation is not the usual one."""
    if sign.mesh == "linkerd":
        if one.namespace != sign.usual[0]:
            yield f"namespace={one.namespace}"
    elif sign.mesh != "refmesh" and (one.namespace, one.name) != sign.usual:
        yield f"control-plane={one.namespace}/{one.name}"
    if sign.mesh == "istio" and one.name.startswith("istiod-"):
        yield f"revision={one.name.removeprefix('istiod-')}"
    classes = [found.name for found in seen.classes if found.controller == ISTIOS_GATEWAYS and found.accepted]
    if sign.mesh == "istio" and len(classes) == 1 and classes != ["istio"]:
        yield f"gateway-class={classes[0]}"
    old = major(one.version) == "2" or "MeshIdentity" not in seen.groups.get("kuma.io", ())
    if sign.mesh == "kuma" and old:
        yield "version=2"
    yield from one.states
