"""Transport sockets for mutual TLS. Workloads' keys and roots come from the agent over SDS; they never pass here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsCertificate,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from refmesh.discovery.packing import pack

__all__ = [
    "MESH_ALPN_HTTP",
    "MESH_ALPN_TCP",
    "agent_secret",
    "downstream",
    "plaintext",
    "roots_secret",
    "secret",
    "server_names",
    "terminate",
    "tls_parameters",
    "upstream",
]

MESH_ALPN_TCP = "istio"
MESH_ALPN_HTTP = "istio-http"
"""What a mesh client offers when requests, not bytes, follow. The server never answers with an ALPN of its own, so the
codec is chosen by the first bytes inside TLS, and HTTP/1.1, h2c and gRPC share one connection type."""

_LEAF, _ROOTS, _SDS_CLUSTER = "default", "ROOTCA", "sds-grpc"
_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""For TLS 1.2; the suites of 1.3 are not configurable, and all good."""


def agent_secret(name: str, api_type: int = ApiConfigSource.GRPC) -> Any:
    """Where the agent's secret of this name comes from."""
    source = ApiConfigSource(
        api_type=api_type,
        transport_api_version=ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=_SDS_CLUSTER))],
    )
    # Wait for the secret however long it takes: starting without it would mean refusing or, worse, plaintext.
    config = ConfigSource(
        api_config_source=source, initial_fetch_timeout=Duration(), resource_api_version=ApiVersion.V3
    )
    return SdsSecretConfig(name=name, sds_config=config)


def _common(matchers: Sequence[Any], alpn: Sequence[str] = ()) -> Any:
    matching = [SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.URI, matcher=matcher) for matcher in matchers]
    return CommonTlsContext(
        tls_params=tls_parameters(),
        tls_certificate_sds_secret_configs=[agent_secret(_LEAF)],
        combined_validation_context=CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=matching),
            validation_context_sds_secret_config=agent_secret(_ROOTS),
        ),
        alpn_protocols=alpn,
    )


def _anybody(trust_domain: str) -> Any:
    return StringMatcher(prefix=f"spiffe://{trust_domain}/")


def tls_parameters() -> Any:
    """Versions and suites: TLS 1.3, and 1.2 with forward secrecy and authenticated encryption only (RFC 9325)."""
    return TlsParameters(
        tls_minimum_protocol_version=TlsParameters.TLSv1_2,
        tls_maximum_protocol_version=TlsParameters.TLSv1_3,
        cipher_suites=_SUITES,
    )


def server_names(identities: Sequence[str]) -> list[Any]:
    """Secure naming: what a server's certificate must say, one of the identities and nothing near it."""
    return [StringMatcher(exact=identity) for identity in identities]


def upstream(server_name: str, identities: Sequence[str], alpn: Sequence[str]) -> Any:
    """The client's side: present our leaf, accept exactly the given identities."""
    return _upstream(server_name, server_names(identities), alpn)


def upstream_to_anybody(server_name: str, trust_domain: str, alpn: Sequence[str]) -> Any:
    """The client's side towards any identity of the trust domain: where nothing tells whose the endpoints are."""
    return _upstream(server_name, [_anybody(trust_domain)], alpn)


def _upstream(server_name: str, matchers: Sequence[Any], alpn: Sequence[str]) -> Any:
    common = _common(matchers, alpn)
    return TransportSocket(
        name="envoy.transport_sockets.tls",
        typed_config=pack(UpstreamTlsContext(common_tls_context=common, sni=server_name)),
    )


def downstream(trust_domain: str) -> Any:
    """The server's side: demand a certificate of our trust domain."""
    common = _common([_anybody(trust_domain)])
    context = DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=BoolValue(value=True),
        # A resumed session is not verified again: it would outlive its certificate, and a root that was dropped.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def terminate(secrets: Sequence[str], roots: str = "") -> Any:
    """A gateway's side towards clients outside: one of the named certificates.

    With `roots`, a secret of CA certificates, clients must show a certificate of theirs; without, nothing is asked.
    All come over ADS: they are nobody else's, and the agent has no part in them.
    """
    source = ConfigSource(
        ads=AggregatedConfigSource(), initial_fetch_timeout=Duration(), resource_api_version=ApiVersion.V3
    )
    context = DownstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=tls_parameters(),
            tls_certificate_sds_secret_configs=[SdsSecretConfig(name=name, sds_config=source) for name in secrets],
            alpn_protocols=["h2", "http/1.1"],
        )
    )
    if roots:
        context.common_tls_context.validation_context_sds_secret_config.CopyFrom(
            SdsSecretConfig(name=roots, sds_config=source)
        )
        context.require_client_certificate.value = True
        # As in `downstream`: a resumed session is not verified again.
        context.disable_stateless_session_resumption = context.disable_stateful_session_resumption = True
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def secret(name: str, chain: str, key: str) -> Any:
    """A certificate with its key, for `terminate`."""
    pair = TlsCertificate(
        certificate_chain=DataSource(inline_bytes=chain.encode()), private_key=DataSource(inline_bytes=key.encode())
    )
    return Secret(name=name, tls_certificate=pair)


def roots_secret(name: str, roots: str) -> Any:
    """CA certificates, for `terminate`."""
    return Secret(
        name=name,
        validation_context=CertificateValidationContext(trusted_ca=DataSource(inline_bytes=roots.encode())),
    )


def plaintext() -> Any:
    """No TLS."""
    return TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=pack(RawBuffer()))
