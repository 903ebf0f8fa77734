"""TLS that a client's proxy originates (DestinationRule, mode SIMPLE or MUTUAL), for applications that speak plaintext.

Certificates and roots are files in the client's own container. The proxy asks its agent for them by name, not this
control plane: one that is missing in a pod closes the cluster there, and spoils neither its other clusters nor others.
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource
from envoy.config.core.v3.protocol_pb2 import UpstreamHttpProtocolOptions
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, SubjectAltNameMatcher
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from refmesh.api.client_tls import ClientTls
from refmesh.api.hostnames import is_address
from refmesh.config.model import Protocol
from refmesh.discovery import tls
from refmesh.discovery.packing import pack

__all__ = ["SYSTEM_ROOTS", "names_of_requests", "transport_socket"]

SYSTEM_ROOTS = "file-root:system"
"""What the agent calls the operating system's roots."""


def transport_socket(wanted: ClientTls, host: str, protocol: Protocol) -> Any:
    """TLS to the endpoints of a host, whose first label may be `*`."""
    server_name = wanted.sni or ("" if host.startswith("*") or is_address(host) else host)
    common = CommonTlsContext(tls_params=tls.tls_parameters())
    if protocol is Protocol.HTTP2:
        # Where nothing is said, Envoy offers what it is about to speak.
        common.alpn_protocols.append("h2")
    if wanted.mode == "MUTUAL":
        name = f"file-cert:{wanted.certificate}~{wanted.key}"
        common.tls_certificate_sds_secret_configs.append(_file(name))
    if wanted.verify:
        name = f"file-root:{wanted.roots}" if wanted.roots else SYSTEM_ROOTS
        common.combined_validation_context.CopyFrom(
            CommonTlsContext.CombinedCertificateValidationContext(
                default_validation_context=CertificateValidationContext(
                    match_typed_subject_alt_names=_matchers(wanted, host, server_name)
                ),
                validation_context_sds_secret_config=_file(name),
            )
        )
    context = UpstreamTlsContext(
        common_tls_context=common,
        sni=server_name,
        # Whatever name is asked for in the end, by the rule or by a request, must be in the certificate.
        auto_sni_san_validation=bool(wanted.verify and server_name and not wanted.names),
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def names_of_requests(wanted: ClientTls | None) -> Any:
    """What requests say of the server's name: their host stands for it unless the rule names another. None: nothing."""
    if wanted is None or not wanted.originates or wanted.sni:
        return None
    return UpstreamHttpProtocolOptions(auto_sni=True, auto_san_validation=wanted.verify and not wanted.names)


def _file(name: str) -> Any:
    # In the delta form the agent can say that there is no such file.
    return tls.agent_secret(name, ApiConfigSource.DELTA_GRPC)


def _matchers(wanted: ClientTls, host: str, server_name: str) -> list[Any]:
    """What the certificate must say beside the server name; one of these is enough."""
    if wanted.names:
        return [_matcher(name) for name in wanted.names]
    if server_name:
        return []
    if host.startswith("*"):
        # Bytes on a connection name no host: any that the rule is for will do.
        matcher = StringMatcher(suffix=host[1:])
        return [SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.DNS, matcher=matcher)]
    return [_matcher(host)]


def _matcher(name: str) -> Any:
    kind = SubjectAltNameMatcher.DNS
    if "://" in name:
        kind = SubjectAltNameMatcher.URI
    elif is_address(name):
        kind = SubjectAltNameMatcher.IP_ADDRESS
    elif "@" in name:
        kind = SubjectAltNameMatcher.EMAIL
    return SubjectAltNameMatcher(san_type=kind, matcher=StringMatcher(exact=name))
