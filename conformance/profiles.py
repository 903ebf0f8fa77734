"""Profiles: named parts of the catalogue, as data. What `--profile` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.choice import choose

if TYPE_CHECKING:
    from conformance.model import Check, Level

__all__ = ["CAPABILITIES", "FULL", "HEADLINE", "PROFILES", "Profile", "profile"]

FULL, HEADLINE = "full", "headline"


@dataclass(frozen=True)
class Profile:
    """A named part of the catalogue."""

    name: str
    title: str
    groups: tuple[str, ...] = ()
    """Groups it takes whole; no groups and no ids: all there are."""
    ids: tuple[str, ...] = ()
    level: Level | None = None

    def holds(self, check: Check) -> bool:
        """Whether a check belongs to it."""
        named = not (self.groups or self.ids) or check.group in self.groups or check.id in self.ids
        return named and self.level in (None, check.level)


CAPABILITIES = {
    "INJ": ("injection", "sidecar injection"),
    "MTLS": ("mtls", "mutual TLS"),
    "ID": ("identity", "identity and certificates"),
    "AZ": ("authorization", "authorization"),
    "RT": ("routing", "routing"),
    "WT": ("weights", "weighted routing"),
    "CB": ("circuit-breaking", "circuit breaking"),
    "RS": ("resilience", "retries, timeouts, faults"),
    "LB": ("load-balancing", "load balancing"),
    "TEL": ("telemetry", "telemetry"),
    "GW": ("gateway", "gateways"),
    "LC": ("lifecycle", "life cycle"),
}
"""Group -> name of its profile, and title of the capability."""

PROFILES = (
    Profile(
        HEADLINE,
        "injection, mutual TLS, weights and circuit breaking in under a minute",
        ids=(
            *("INJ-01", "INJ-02", "INJ-03", "INJ-04", "INJ-05"),
            *("MTLS-01", "MTLS-02", "MTLS-03", "MTLS-04", "MTLS-05", "ID-01"),
            *("WT-01", "WT-02", "WT-05", "WT-08"),
            *("CB-01", "CB-02", "CB-03", "CB-05", "CB-07"),
        ),
    ),
    Profile(FULL, "every check"),
    Profile("core", "every check of what a mesh must do", level="core"),
    Profile("extended", "every check of what a mesh may do", level="extended"),
    *(Profile(name, title, groups=(group,)) for group, (name, title) in CAPABILITIES.items()),
)


def profile(name: str) -> Profile:
    """The profile with this name, in any case. `UsageProblem` names the known ones."""
    known = {one.name: one for one in PROFILES}
    return known[choose(name.strip().lower(), known, "profile")]
