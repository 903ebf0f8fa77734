"""Traffic capture: the iptables rules of an injected pod, as one document for `iptables-restore --noflush`.

Run once, before anything else in the pod, by the init container that alone has NET_ADMIN: `python -m
refmesh.agent.capture`. With `--print` it only shows the document. Where the nodes capture, refmesh.node.enter calls the
same code from inside of the pod's network. Settings come as environment variables (`VARIABLES`); what they mean is what
Istio's annotations mean.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from ipaddress import ip_address, ip_network

from refmesh.agent.places import AGENT_PORT, INBOUND_PORT, INBOUND_SOURCE, OUTBOUND_PORT, PROXY_UID, READY_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ALL",
    "VARIABLES",
    "asked",
    "documents",
    "ipv6_address",
    "main",
    "ports",
    "ports_or_all",
    "put_in_force",
    "ranges",
    "ranges_or_all",
    "rules",
]

ALL = "*"
VARIABLES = tuple(
    f"REFMESH_{word}_{what}"
    for word in ("EXCLUDE", "INCLUDE")
    for what in ("INBOUND_PORTS", "OUTBOUND_PORTS", "OUTBOUND_RANGES")
)
"""The settings, by the names of their environment variables."""

_NEVER_CAPTURED_INBOUND = (AGENT_PORT, READY_PORT)


def rules(
    *,
    exclude_inbound: Iterable[int] = (),
    exclude_outbound: Iterable[int] = (),
    exclude_ranges: Iterable[str] = (),
    include_inbound: Iterable[int] | None = None,
    include_outbound: Iterable[int] = (),
    include_ranges: Iterable[str] | None = None,
    ipv6: bool = False,
) -> str:
    """Return the document for one address family. The ranges of the other family are left out.

    Of what is included, None is everything. Ports of `include_outbound` are captured whatever the address, and those
    of `exclude_inbound` are exempt only where everything is included. Else an exclusion wins.
    """
    loopback, inbound_source = ("::1/128", "::6/128") if ipv6 else ("127.0.0.1/32", f"{INBOUND_SOURCE}/32")
    family = 6 if ipv6 else 4
    exempt = {*_NEVER_CAPTURED_INBOUND, *(exclude_inbound if include_inbound is None else ())}
    included = [""] if include_ranges is None else [f" -d {net}" for net in _numeric(include_ranges, family)]
    lines = [
        "*nat",
        *(f":{chain} - [0:0]" for chain in ("REFMESH_INBOUND", "REFMESH_OUTPUT", "REFMESH_IN", "REFMESH_OUT")),
        f"-A REFMESH_IN -p tcp -j REDIRECT --to-ports {INBOUND_PORT}",
        f"-A REFMESH_OUT -p tcp -j REDIRECT --to-ports {OUTBOUND_PORT}",
        *(f"-A REFMESH_INBOUND -p tcp --dport {port:d} -j RETURN" for port in sorted(exempt)),
        *(f"-A REFMESH_INBOUND -p tcp{port} -j REFMESH_IN" for port in _matches(include_inbound)),
        # From Envoy (or the agent's probes) to the application, over the pod's own address: never captured again.
        f"-A REFMESH_OUTPUT -o lo -s {inbound_source} -j RETURN",
        # Envoy calls a service and has chosen its own pod: in through the inbound listener, as from any other pod.
        f"-A REFMESH_OUTPUT -o lo ! -d {loopback} -m owner --uid-owner {PROXY_UID} -j REFMESH_IN",
        # Containers of the pod among themselves.
        f"-A REFMESH_OUTPUT -o lo -m owner ! --uid-owner {PROXY_UID} -j RETURN",
        # Whatever else Envoy sends is on its way out.
        f"-A REFMESH_OUTPUT -m owner --uid-owner {PROXY_UID} -j RETURN",
        f"-A REFMESH_OUTPUT -d {loopback} -j RETURN",
        *(f"-A REFMESH_OUTPUT -p tcp --dport {port:d} -j RETURN" for port in sorted(set(exclude_outbound))),
        *(f"-A REFMESH_OUTPUT -d {net} -j RETURN" for net in _numeric(exclude_ranges, family)),
        *(f"-A REFMESH_OUTPUT -p tcp{port} -j REFMESH_OUT" for port in _matches(include_outbound)),
        *(f"-A REFMESH_OUTPUT{net} -p tcp -j REFMESH_OUT" for net in included),
        "-A PREROUTING -p tcp -j REFMESH_INBOUND",
        "-A OUTPUT -p tcp -j REFMESH_OUTPUT",
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


def _matches(included: Iterable[int] | None) -> list[str]:
    return [""] if included is None else [f" --dport {port:d}" for port in sorted(set(included))]


def _numeric(nets: Iterable[str], family: int) -> list[str]:
    """Return the networks of a family, made anew from their numbers: of anybody's text nothing is in a document."""
    parsed = [net for net in map(ip_network, nets) if net.version == family]
    return [str(type(net)((int(net.network_address), net.prefixlen))) for net in parsed]


def ports(text: str) -> tuple[int, ...]:
    """Parse `80, 8080` into port numbers. Raises ValueError that names the bad part."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if not (part.isascii() and part.isdecimal() and 0 < int(part) < 65536):
            raise ValueError(f"{part!r} is not a port number")
        found.append(int(part))
    return tuple(found)


def ranges(text: str) -> tuple[str, ...]:
    """Parse `10.0.0.0/8, 1.2.3.4` into networks in CIDR form. Raises ValueError that names the bad part."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        # After it Python takes any text, lines and all, and keeps it; iptables knows no zones.
        if "%" in part:
            raise ValueError(f"{part!r} is not an IP range: leave out the zone (%)")
        try:
            found.append(str(ip_network(part, strict=False)))
        except ValueError as error:
            raise ValueError(f"{part!r} is not an IP range") from error
    return tuple(found)


def ports_or_all(text: str) -> tuple[int, ...] | None:
    """Parse ports, or `*`, which is None. Raises ValueError that names the bad part."""
    return None if text.strip() == ALL else ports(text)


def ranges_or_all(text: str) -> tuple[str, ...] | None:
    """Parse ranges, or `*`, which is None. Raises ValueError that names the bad part."""
    return None if text.strip() == ALL else ranges(text)


def main(arguments: Sequence[str]) -> int:
    """Apply (or print) the rules of this pod; returns the exit code."""
    try:
        if "--print" in arguments:
            sys.stdout.write("".join(document for _, document in documents(os.environ)))
            return 0
        return 0 if put_in_force(documents(os.environ)) else 1
    except ValueError as error:
        sys.stderr.write(f"refmesh-init: {error}\n")
        return 2


def asked(env: Mapping[str, str]) -> partial[str]:
    """Return `rules` with what the settings ask for; the family is left to be said. Raises ValueError."""
    return partial(
        rules,
        exclude_inbound=ports(env.get("REFMESH_EXCLUDE_INBOUND_PORTS", "")),
        exclude_outbound=ports(env.get("REFMESH_EXCLUDE_OUTBOUND_PORTS", "")),
        exclude_ranges=ranges(env.get("REFMESH_EXCLUDE_OUTBOUND_RANGES", "")),
        include_inbound=ports_or_all(env.get("REFMESH_INCLUDE_INBOUND_PORTS", ALL)),
        include_outbound=ports(env.get("REFMESH_INCLUDE_OUTBOUND_PORTS", "")),
        include_ranges=ranges_or_all(env.get("REFMESH_INCLUDE_OUTBOUND_RANGES", ALL)),
    )


def documents(env: Mapping[str, str], *, early: bool = False) -> list[tuple[bool, str]]:
    """Return the documents for the network that this process is in, each with whether it is IPv6's. Raises ValueError.

    `early`: the network may get addresses yet.
    """
    chosen = asked(env)
    table = _ipv6_table()
    families = [False, True] if _global_address(table) or (early and table) else [False]
    return [(ipv6, chosen(ipv6=ipv6)) for ipv6 in families]


def put_in_force(found: Iterable[tuple[bool, str]], *, once: bool = False) -> bool:
    """Apply documents in this process's network; with `once`, only those that are not in force there already.

    False if one cannot be applied, but for IPv6's where there is no address for it.
    """
    return all(
        (once and _in_force(ipv6=ipv6)) or _apply(document, ipv6=ipv6) or (ipv6 and ipv6_address() is None)
        for ipv6, document in found
    )


def ipv6_address() -> str | None:
    """Return an IPv6 address of the pod besides loopback and link-local ones, None if it has none."""
    return _global_address(_ipv6_table())


def _global_address(table: list[list[str]]) -> str | None:
    # columns: address, index, prefix length, scope (00 global), flags, device
    found = next((row[0] for row in table if row[3] == "00"), None)
    return None if found is None else str(ip_address(int(found, 16).to_bytes(16, "big")))


def _ipv6_table() -> list[list[str]]:
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:  # noqa: PTH123  (pathlib costs 5 ms of a pod's start)
            return [line.split() for line in table]
    except OSError:
        return []


def _in_force(*, ipv6: bool) -> bool:
    """Whether the rules are there. A document takes effect as a whole, so its last jump tells of all the others."""
    prefix = "ip6tables" if ipv6 else "iptables"
    asked = ["-w", "-t", "nat", "-C", "OUTPUT", "-p", "tcp", "-j", "REFMESH_OUTPUT"]
    return any(_run([program, *asked], quiet=True) == 0 for program in (prefix, f"{prefix}-legacy"))


def _apply(document: str, *, ipv6: bool) -> bool:
    """Feed the document to iptables-restore; where the kernel lacks nf_tables, to its legacy sibling."""
    prefix = "ip6tables" if ipv6 else "iptables"
    for program, more in ((f"{prefix}-restore", []), (f"{prefix}-legacy-restore", ["-w"])):
        code = _run([program, "--noflush", *more], document)
        if code == 0:
            return True
        why = "is not installed in this image" if code is None else f"failed with exit code {code}"
        sys.stderr.write(f"refmesh-init: {program} {why}\n")
    return False


def _run(command: list[str], text: str = "", *, quiet: bool = False) -> int | None:
    """Run a program with `text` as its input; its exit code, or None where there is no such program."""
    file = os.memfd_create("input")
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [(os.POSIX_SPAWN_DUP2, file, 0)]
    if quiet:
        actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
    try:
        os.write(file, text.encode())
        os.lseek(file, 0, os.SEEK_SET)
        child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    except FileNotFoundError:
        return None
    finally:
        os.close(file)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
