"""`trafficPolicy.tls` of a DestinationRule: whether and how a client's proxy speaks TLS to the endpoints.

Files are those that the client's proxy sees: the control plane reads no Secret for them and hands out no key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from refmesh.api.fields import Field, Invalid
from refmesh.api.hostnames import is_address

__all__ = ["ClientTls", "Mode", "never_ready", "read"]

Mode = Literal["DISABLE", "ISTIO_MUTUAL", "SIMPLE", "MUTUAL"]

_MODES = ("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL")
_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*")
# The longest that a DNS name may be, and that Envoy takes.
_LONGEST_NAME, _LONGEST_PATH = 253, 1024
_MOST_NAMES = 100
_SYSTEM = "system"
_OF_CLIENT = ("clientCertificate", "privateKey")
_INSTEAD = (
    "is not supported by refmesh, whose control plane hands no Secret to workloads: mount the Secret into the proxy "
    "with the pod's annotations sidecar.istio.io/userVolume and sidecar.istio.io/userVolumeMount, and name its files "
    "in caCertificates, clientCertificate and privateKey"
)


@dataclass(frozen=True)
class ClientTls:
    """How to speak to endpoints. Everything but the mode belongs to SIMPLE and MUTUAL, TLS of the user's own."""

    mode: Mode
    sni: str = ""
    """The server name to ask for; empty: the host that a request names, or the rule's."""
    names: tuple[str, ...] = ()
    """Names, addresses or URIs of which the server's certificate must have one; empty: it must have the server name."""
    roots: str = ""
    """Path of the CA certificates; empty: the operating system's."""
    certificate: str = ""
    key: str = ""
    """Paths of the client's certificate and its key: MUTUAL only."""
    verify: bool = True

    @property
    def originates(self) -> bool:
        """Whether the proxy speaks TLS that is not the mesh's."""
        return self.mode in {"SIMPLE", "MUTUAL"}


def never_ready(rule: str) -> ClientTls:
    """TLS of a rule that nothing is known of but its name: its roots are where no file can be, so it stays closed."""
    return ClientTls("SIMPLE", roots=f"/dev/null/DestinationRule/{rule}")


def read(tls: Field) -> ClientTls | None:
    """The settings, None where there are none. Raises `Invalid`."""
    if not tls.present:
        return None
    tls.only("mode", "sni", "subjectAltNames", "insecureSkipVerify", "caCertificates", "credentialName", *_OF_CLIENT)
    mode = cast("Mode", tls.get("mode").choice(*_MODES))
    if tls.get("credentialName").present:
        raise Invalid(f"{tls.path}.credentialName", _INSTEAD)
    if mode in {"DISABLE", "ISTIO_MUTUAL"}:
        for key in ("sni", "subjectAltNames", "insecureSkipVerify", "caCertificates", *_OF_CLIENT):
            if tls.get(key).present:
                raise Invalid(f"{tls.path}.{key}", f"has no meaning with mode {mode}; use SIMPLE or MUTUAL")
        return ClientTls(mode)
    _check_client(tls, mode)
    verify = not tls.get("insecureSkipVerify").boolean()
    if not verify:
        for key in ("caCertificates", "subjectAltNames"):
            if tls.get(key).present:
                raise Invalid(
                    f"{tls.path}.{key}", "says how to verify the server, which insecureSkipVerify switches off"
                )
    return ClientTls(
        mode=mode,
        sni=_server_name(tls.get("sni")),
        names=_names(tls.get("subjectAltNames")),
        roots=_roots(tls.get("caCertificates")),
        certificate=_path(tls.get("clientCertificate")) if mode == "MUTUAL" else "",
        key=_path(tls.get("privateKey")) if mode == "MUTUAL" else "",
        verify=verify,
    )


def _check_client(tls: Field, mode: Mode) -> None:
    for key in _OF_CLIENT:
        given = tls.get(key).present
        if mode == "MUTUAL" and not given:
            raise Invalid(f"{tls.path}.{key}", "is required with mode MUTUAL: the path of a file in the proxy")
        if mode == "SIMPLE" and given:
            raise Invalid(f"{tls.path}.{key}", "has no meaning with mode SIMPLE; use MUTUAL to show a certificate")


def _server_name(item: Field) -> str:
    name = item.text("").lower()
    if name and (len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or is_address(name)):
        raise Invalid(item.path, f"must be a host name without wildcards, not {name[:80]!r}")
    return name


def _names(item: Field) -> tuple[str, ...]:
    found = tuple(name.text() for name in item.each())
    if len(found) > _MOST_NAMES:
        raise Invalid(item.path, f"has more than {_MOST_NAMES} entries")
    for index, name in enumerate(found):
        if len(name) > 2 * _LONGEST_NAME or "*" in name:
            raise Invalid(
                f"{item.path}[{index}]", "must be one name, address or URI as certificates have it, without *"
            )
    return found


def _roots(item: Field) -> str:
    return "" if item.text(_SYSTEM) == _SYSTEM else _path(item)


def _path(item: Field) -> str:
    path = item.text()
    # Certificate and key go by one name, in which `~` stands between their paths, as in Istio.
    parts = path.split("/")
    if len(path) > _LONGEST_PATH or parts[0] or not parts[-1] or "~" in path or ".." in parts:
        raise Invalid(item.path, "must be the absolute path of a file in the proxy's container, without .. and ~")
    return path
