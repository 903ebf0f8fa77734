"""Whose clients follow which DestinationRule: where each may speak, and which does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from refmesh.api.destination_rule import DestinationRule
from refmesh.config.model import Snapshot
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.virtual_hosts import EVERYBODY

__all__ = ["by_scope", "scopes_of"]


def scopes_of(rule: DestinationRule, settings: MeshSettings) -> tuple[str, ...]:
    """The namespaces for whose clients a rule may speak, EVERYBODY for all of them.

    To those of others it speaks from beside the Service only, or from the root namespace: that stands behind any rule
    for everybody.
    """
    own, owner = rule.meta.namespace, _owner(rule, settings)
    beside_or_root = own in {owner, settings.root_namespace}
    if not rule.private:
        return (EVERYBODY,) if beside_or_root else (own,)
    found = [own] if own in rule.exported else []
    if beside_or_root:
        found += sorted(rule.exported - {own})
    return (*found, EVERYBODY) if beside_or_root and own != owner else tuple(found)


def by_scope(
    snapshot: Snapshot, settings: MeshSettings, outside: Mapping[str, str]
) -> dict[tuple[str, str], tuple[DestinationRule, ...]]:
    """By scope and host: the oldest, merged; where it is private, behind it the oldest that is not, if there is one.

    `outside`: hosts of ServiceEntries by the names that rules may call them.
    """
    found: dict[tuple[str, str], tuple[DestinationRule, ...]] = {}
    mesh_wide: dict[str, DestinationRule] = {}
    lent: list[tuple[bool, str, DestinationRule]] = []
    for merged in _merged(snapshot, outside):
        own, owner = merged.meta.namespace, _owner(merged, settings)
        lends = own in {owner, settings.root_namespace}
        wide = lends and not merged.private
        # What servers are spoken to in is not for their clients to say.
        rule = merged if wide or owner in {"", own} else merged.without_upgrade()
        if lends:
            lent.extend((own != owner, namespace, rule) for namespace in sorted(rule.exported - {own}))
        if wide and own != owner:
            mesh_wide.setdefault(rule.host, rule)
            continue
        if rule.private and own not in rule.exported:
            continue
        key = (EVERYBODY if wide else own, rule.host)
        known = found.get(key, ())
        if all(one.private and not rule.private for one in known):
            found[key] = (*known, rule)
    # Beside the host a rule may be for single namespaces; the root namespace's stands behind any that is beside it.
    for of_root, namespace, rule in sorted(lent, key=lambda item: item[0]):
        if namespace in snapshot.namespaces and not (of_root and (EVERYBODY, rule.host) in found):
            found.setdefault((namespace, rule.host), (rule,))
    for host, rule in mesh_wide.items():
        found.setdefault((EVERYBODY, host), (rule,))
    return found


def _merged(snapshot: Snapshot, outside: Mapping[str, str]) -> list[DestinationRule]:
    """The rules, the oldest first. Those of a namespace for one host and the same clients are one, as in Istio."""
    found: dict[tuple[str, str, frozenset[str]], list[DestinationRule]] = {}
    for written in sorted(snapshot.destination_rules.values(), key=lambda item: item.meta.age_key):
        rule = replace(written, host=outside.get(written.host, written.host))
        found.setdefault((rule.meta.namespace, rule.host, rule.exported), []).append(rule)
    return [oldest.merged(younger) for oldest, *younger in found.values()]


def _owner(rule: DestinationRule, settings: MeshSettings) -> str:
    """The namespace of the Service that a rule is for; empty where it is for a host outside."""
    return rule.host.split(".")[1] if rule.host.endswith(f".svc.{settings.domain}") else ""
