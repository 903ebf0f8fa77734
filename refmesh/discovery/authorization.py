"""Which AuthorizationPolicies are in force at a pod, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from refmesh.api.authorization_policy import Action, AuthorizationPolicy
from refmesh.api.conditions import Attribute, Condition
from refmesh.config.model import Pod, Snapshot

__all__ = ["OPEN", "Authorization", "AuthorizationPolicies"]

Policies = tuple[AuthorizationPolicy, ...]


@dataclass(frozen=True)
class Authorization:
    """The policies of one pod. DENY wins; then, where there is any ALLOW policy, one must match; AUDIT only marks."""

    deny: Policies = ()
    allow: Policies = ()
    audit: Policies = ()

    @cached_property
    def names_paths(self) -> bool:
        """Whether paths decide anything, so that there must be one way only to write each of them."""
        conditions = (item for policy in (*self.deny, *self.allow, *self.audit) for item in _conditions(policy))
        return any(item.attribute is Attribute.PATH for item in conditions)

    @property
    def all(self) -> Policies:
        """Every policy, in the order in which they are asked."""
        return (*self.deny, *self.allow, *self.audit)


OPEN = Authorization()
"""Nothing is said, so everything is allowed."""


def _conditions(policy: AuthorizationPolicy) -> Iterator[Condition]:
    for rule in policy.rules:
        for group in (*rule.sources, *rule.operations, rule.when):
            yield from group


@dataclass(frozen=True)
class AuthorizationPolicies:
    """All policies of a snapshot, by namespace, the mesh-wide ones apart."""

    root_namespace: str
    namespaces: Mapping[str, Policies]

    @classmethod
    def collect(cls, policies: Iterable[AuthorizationPolicy], root_namespace: str) -> AuthorizationPolicies:
        """Sort the policies of a snapshot."""
        found: dict[str, list[AuthorizationPolicy]] = {}
        for policy in sorted(policies, key=lambda policy: policy.meta.age_key):
            found.setdefault(policy.meta.namespace, []).append(policy)
        return cls(root_namespace, {namespace: tuple(items) for namespace, items in found.items()})

    def of(self, pod: Pod, snapshot: Snapshot) -> Authorization:
        """What is in force at a pod."""
        scopes = [self.root_namespace] if pod.namespace == self.root_namespace else [self.root_namespace, pod.namespace]
        candidates = [policy for scope in scopes for policy in self.namespaces.get(scope, ())]
        if not candidates:
            return OPEN
        services = [service.name for service in snapshot.services_of(pod)]
        found: dict[Action, list[AuthorizationPolicy]] = {action: [] for action in Action}
        for policy in candidates:
            # A Service of the root namespace is not the one of the same name elsewhere.
            if policy.selection.picks(pod.labels, services, near=policy.meta.namespace == pod.namespace):
                found[policy.action].append(policy)
        return Authorization(tuple(found[Action.DENY]), tuple(found[Action.ALLOW]), tuple(found[Action.AUDIT]))
