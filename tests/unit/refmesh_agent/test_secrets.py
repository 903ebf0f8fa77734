"""Hand-made xDS messages against the generated classes, and the server against a real gRPC client."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent import secrets
from refmesh.agent.enrolment import Identity
from refmesh.ca import wire

FIRST = Identity(b"key-1", b"chain-1", b"roots-1", 1e9)
SECOND = Identity(b"key-2", b"chain-2", b"roots-2", 2e9)


@given(st.lists(st.text(), max_size=4), st.text(), st.text(min_size=1) | st.none())
def test_requests_are_read_as_protobuf_writes_them(names, nonce, error):
    message = discovery_pb2.DiscoveryRequest(version_info="v", resource_names=names, type_url="t", response_nonce=nonce)
    if error:
        message.error_detail.code, message.error_detail.message = 3, error
    request = secrets.read_request(message.SerializeToString())
    assert request == secrets.Request(tuple(names), nonce, error or "")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(wire.Malformed):
        secrets.read_request(data)


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50), st.text(), st.text())
def test_responses_are_what_protobuf_would_write(key, chain, roots, version, nonce):
    identity = Identity(key, chain, roots, 0)
    found = [secrets.certificate_secret(identity), secrets.roots_secret(identity)]
    response = discovery_pb2.DiscoveryResponse.FromString(secrets.discovery_response(version, nonce, found))
    assert (response.version_info, response.nonce) == (version, nonce)
    certificate, validation = (_unpack(resource) for resource in response.resources)
    assert certificate.name == "default"
    assert certificate.tls_certificate.private_key.inline_bytes == key
    assert certificate.tls_certificate.certificate_chain.inline_bytes == chain
    assert validation.name == "ROOTCA"
    assert validation.validation_context.trusted_ca.inline_bytes == roots


def _unpack(resource: any_pb2.Any) -> secret_pb2.Secret:
    secret = secret_pb2.Secret()
    assert resource.Unpack(secret)
    return secret


class Subscriber:
    """A real gRPC client on one SDS stream."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._outbox: queue.Queue[bytes | None] = queue.Queue()
        stream = channel.stream_stream(secrets.METHOD, None, None)
        self._replies: Any = stream(iter(self._outbox.get, None), timeout=5)

    def ask(self, *names: str, nonce: str = "") -> None:
        request = discovery_pb2.DiscoveryRequest(resource_names=names, response_nonce=nonce)
        self._outbox.put(request.SerializeToString())

    def answer(self) -> tuple[str, str, list[secret_pb2.Secret]]:
        response = discovery_pb2.DiscoveryResponse.FromString(next(self._replies))
        return response.version_info, response.nonce, [_unpack(resource) for resource in response.resources]

    def close(self) -> None:
        self._outbox.put(None)


@pytest.fixture
def server(tmp_path) -> secrets.SecretServer:
    running = secrets.SecretServer(str(tmp_path / "sds"))
    running.start()
    return running


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{server.path}") as channel:
        yield channel


def test_a_stream_waits_for_the_first_identity_and_gets_every_renewal(server, channel):
    stream = Subscriber(channel)
    stream.ask("default")
    server.publish(FIRST)
    version, nonce, (secret,) = stream.answer()
    assert (version, secret.tls_certificate.private_key.inline_bytes) == ("1", b"key-1")
    stream.ask("default", nonce=nonce)
    server.publish(SECOND)
    version, _, (secret,) = stream.answer()
    assert (version, secret.tls_certificate.private_key.inline_bytes) == ("2", b"key-2")
    stream.close()


def test_two_streams_get_what_each_asked_for(server, channel):
    server.publish(FIRST)
    certificate, roots = Subscriber(channel), Subscriber(channel)
    certificate.ask("default")
    roots.ask("ROOTCA")
    assert certificate.answer()[2][0].name == "default"
    assert roots.answer()[2][0].validation_context.trusted_ca.inline_bytes == b"roots-1"
    certificate.close()
    roots.close()


def test_a_secret_larger_than_the_window_arrives_whole(server, channel):
    server.publish(Identity(b"k", b"c" * 300_000, b"r", 0))
    stream = Subscriber(channel)
    stream.ask("default")
    assert len(stream.answer()[2][0].tls_certificate.certificate_chain.inline_bytes) == 300_000
    stream.close()


def test_another_method_is_unimplemented(channel):
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream("/a.B/C", None, None)(iter([b""]), timeout=5))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_an_unknown_secret_is_answered_without_resources(server, channel):
    server.publish(FIRST)
    stream = Subscriber(channel)
    stream.ask("other")
    assert stream.answer()[2] == []
    stream.close()
