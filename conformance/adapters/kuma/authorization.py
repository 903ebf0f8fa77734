"""Authorization: `MeshTrafficPermission`, by identity."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Manifest, Rendered, Rival, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import Access, AccessRule, Effect, LenientPaths, Mode, TokenIssuer, UnreadableAccess
from fixtures.workloads.manifests import PORTS

from .base import KumaSettings, dataplanes, policy, render, spiffe, standing
from .security import mode

NOBODY = "/nobody"
"""Of an identity that no workload has: theirs begin with `/ns/`."""

ALLOWANCES = ("allow", "allowWithShadowDeny")

cannot(render, "requests' tokens are not looked at", TokenIssuer)
cannot(render, "a permission has no conditions that could be unknown", UnreadableAccess)
cannot(render, "permissions are by identity and port, not by path", LenientPaths)


@render.register
def _(intent: Access, settings: KumaSettings) -> Rendered | Unsupported:
    """One permission a port, or one for all; an allowance takes the place of the permission that lets everybody in.

    Permissions are asked about Kuma's own TLS only: plaintext passes them by where a mode lets it in at all. So what is
    not for everybody takes none.
    """
    for rule in intent.rules:
        if rule.methods or rule.paths or rule.hosts or rule.header or rule.token:
            return Unsupported("permissions are by identity and port, not by what is in a request")
        if rule.accounts and not settings.by_identity:
            return Unsupported("before MeshIdentity permissions know namespaces, not service accounts")
        if rule.accounts and rule.namespaces:
            return Unsupported("a permission asks for an account or a namespace")
    found = [_closed(settings, intent)] if intent.effect is Effect.ALLOW else []
    for i, rule in enumerate(intent.rules):
        for port in rule.ports or (0,):
            name = f"{intent.name}-{i}" + (f"-{port}" if port else "")
            target = dataplanes(intent.workload, port)
            found.append(_permission(settings, intent, name, target, rule))
    for port in _sealed(intent):
        name = f"access-to-{intent.workload}" + (f"-{port}" if port else "")
        found.append(mode(settings, intent.namespace, name, dataplanes(intent.workload, port), Mode.STRICT))
    # By identity allowances add up, also those of the whole mesh; before, that of a workload took their place.
    rivals = (_rival(settings, intent.namespace),) if intent.effect is Effect.ALLOW and settings.by_identity else ()
    return Rendered(objects=tuple(found), rivals=rivals)


def _sealed(intent: Access) -> tuple[int, ...]:
    """The ports on which plaintext must not come in, as nobody knows who sends it; 0 is all of them."""
    anybody = [rule.ports for rule in intent.rules if not rule.accounts and not rule.namespaces]
    named = {port for ports in anybody for port in ports}
    if intent.effect is Effect.DENY:
        return (0,) if () in anybody else tuple(sorted(named))
    if () in anybody:
        return ()
    return tuple(port for port in PORTS.values() if port not in named) if named else (0,)


def _rival(settings: KumaSettings, namespace: str) -> Rival:
    """A permission of the user's for the whole mesh that lets in callers from a namespace."""
    callers = f"spiffe://{settings.domain}/ns/{namespace}/sa/"

    def undoes(permission: Manifest) -> bool:
        labels = permission["metadata"].get("labels") or {}
        if labels.get("kuma.io/mesh", "default") != settings.mesh:
            return False
        rules = [one.get("default") or {} for one in permission["spec"].get("rules") or ()]
        let_in = [match for one in rules for way in ALLOWANCES for match in one.get(way) or ()]
        named = [one.get("spiffeID") or {} for one in let_in]
        return any(one.get("type") == "Prefix" and callers.startswith(one["value"]) for one in named)

    return Rival("kuma.io/v1alpha1", "MeshTrafficPermission", settings.control_plane.namespace, undoes)


def _closed(settings: KumaSettings, intent: Access) -> Manifest:
    """The workload's standing permission, with nobody in it."""
    if settings.by_identity:
        # A rule must name somebody, and whom it denies no other rule can let in.
        spec: Manifest = {"rules": [{"default": {"allow": [spiffe(settings, "Exact", NOBODY)]}}]}
    else:
        spec = {"from": _old(AccessRule(), "Deny")}
    spec = {"targetRef": dataplanes(intent.workload), **spec}
    return policy(settings, "MeshTrafficPermission", standing(intent.workload), intent.namespace, spec)


def _permission(settings: KumaSettings, intent: Access, name: str, target: Manifest, rule: AccessRule) -> Manifest:
    if not settings.by_identity:
        spec: Manifest = {"targetRef": target, "from": _old(rule, intent.effect.capitalize())}
    else:
        callers = [spiffe(settings, "Exact", f"/ns/{space}/sa/{one}") for space, one in rule.accounts]
        callers += [spiffe(settings, "Prefix", f"/ns/{space}/sa") for space in rule.namespaces]
        default = {str(intent.effect): callers or [spiffe(settings, "Prefix")]}
        spec = {"targetRef": target, "rules": [{"default": default}]}
    return policy(settings, "MeshTrafficPermission", name, intent.namespace, spec)


def _old(rule: AccessRule, action: str) -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = [
        {"kind": "MeshSubset", "tags": {"k8s.kuma.io/namespace": one}} for one in rule.namespaces
    ]
    return [{"targetRef": one, "default": {"action": action}} for one in targets or [{"kind": "Mesh"}]]
