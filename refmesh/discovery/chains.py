"""Filter chains that tell connections by the address asked for and by TLS's SNI, so that the first that holds decides.

Envoy does not look for the first: it goes by the closest block of addresses, then among the chains with that block by
the closest name, and never back. So each block gets every chain that holds for its addresses, and no name twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch

from refmesh.discovery import matchers

__all__ = ["Chain", "filter_chains"]


@dataclass(frozen=True)
class Chain:
    """Connections for which `match` holds, and which asked for one of the `subnets` (none: for any address)."""

    name: str
    match: Any
    filters: tuple[Any, ...]
    subnets: tuple[str, ...] = ()

    @cached_property
    def networks(self) -> tuple[IPv4Network, ...]:
        """The subnets, read."""
        return tuple(map(IPv4Network, self.subnets))

    def covers(self, block: IPv4Network | None) -> bool:
        """Whether it holds for every address of a block; None is every address."""
        if not self.subnets or block is None:
            return not self.subnets
        return any(block.subnet_of(network) for network in self.networks)


def filter_chains(chains: Sequence[Chain]) -> list[Any]:
    """The chains in Envoy's words, earlier ones first."""
    told_apart: dict[tuple[bytes, tuple[str, ...]], Chain] = {}
    for chain in chains:
        # One that asks the same as an earlier one is never reached.
        told_apart.setdefault((chain.match.SerializeToString(deterministic=True), chain.subnets), chain)
    distinct = tuple(told_apart.values())
    found = []
    for block in dict.fromkeys((None, *(network for chain in distinct for network in chain.networks))):
        taken: dict[bytes, set[str]] = {}
        for chain in distinct:
            if not chain.covers(block):
                continue
            match = FilterChainMatch()
            match.CopyFrom(chain.match)
            match.ClearField("server_names")
            seen = taken.setdefault(match.SerializeToString(deterministic=True), set())
            names = [name for name in dict.fromkeys(chain.match.server_names or [""]) if name not in seen]
            if not names:
                continue
            seen.update(names)
            match.server_names.extend(name for name in names if "" not in names)
            if block is not None:
                match.prefix_ranges.append(matchers.cidr(str(block)))
            name = f"{chain.name}@{block}" if block is not None else chain.name
            found.append(FilterChain(name=name, filter_chain_match=match, filters=chain.filters))
    return found
