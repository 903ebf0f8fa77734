"""Files as secrets: messages against the generated classes, and what becomes of files that are missing or change."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent import files, secrets
from refmesh.agent.enrolment import Identity
from refmesh.ca import wire

CA, KEY = b"-----BEGIN CERTIFICATE-----\nx\n", b"-----BEGIN EC PRIVATE KEY-----\nx\n"


@given(st.sets(st.text(), max_size=3), st.sets(st.text(), max_size=3), st.text(min_size=1) | st.none())
def test_requests_are_read_as_protobuf_writes_them(wanted: set[str], dropped: set[str], error: str | None) -> None:
    message = discovery_pb2.DeltaDiscoveryRequest(
        resource_names_subscribe=wanted,
        resource_names_unsubscribe=dropped,
        response_nonce="1",
        initial_resource_versions={"a": "b"},
    )
    if error:
        message.error_detail.code, message.error_detail.message = 3, error
    assert files.read_request(message.SerializeToString()) == (wanted, dropped, error or "")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        files.read_request(data)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[grpc.Channel]:
    """A connection to a server that has an identity as well."""
    server = secrets.SecretServer(str(tmp_path / "sds"), files.FileServer(poll_seconds=0.02))
    server.publish(Identity(b"key", b"chain", b"roots", 0))
    server.start()
    with grpc.insecure_channel(f"unix:{server.path}") as opened:
        yield opened


@pytest.fixture
def ask(channel: grpc.Channel) -> Iterator[Any]:
    """Asks for a secret; gives the answers one after the other: the Secret, or None for one that does not exist."""
    outboxes: list[queue.Queue[bytes | None]] = []

    def answers(name: str) -> Iterator[Secret | None]:
        outbox: queue.Queue[bytes | None] = queue.Queue()
        outboxes.append(outbox)
        request = discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=[name])
        outbox.put(request.SerializeToString())
        for reply in channel.stream_stream(files.METHOD, None, None)(iter(outbox.get, None), timeout=10):
            response = discovery_pb2.DeltaDiscoveryResponse.FromString(reply)
            assert response.nonce
            if response.removed_resources:
                assert (list(response.removed_resources), len(response.resources)) == ([name], 0)
                yield None
                continue
            (resource,) = response.resources
            secret = Secret()
            assert resource.resource.Unpack(secret)
            assert (resource.name, secret.name) == (name, name)
            yield secret

    yield answers
    for outbox in outboxes:
        outbox.put(None)


def test_a_file_is_served_replaced_and_kept_when_it_goes(ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    found = ask(f"file-root:{path}")
    assert next(found) is None
    for content in (CA, CA + b"more"):
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)
        assert next(found).validation_context.trusted_ca.inline_bytes == content
    path.unlink()
    # Were it taken away, the next answer would be another one.
    path.with_suffix(".new").write_bytes(CA)
    path.with_suffix(".new").replace(path)
    assert next(found).validation_context.trusted_ca.inline_bytes == CA


def test_certificate_and_key_go_together(ask: Any, tmp_path: Path) -> None:
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    chain.write_bytes(CA)
    found = ask(f"file-cert:{chain}~{key}")
    assert next(found) is None
    key.write_bytes(KEY)
    pair = next(found).tls_certificate
    assert (pair.certificate_chain.inline_bytes, pair.private_key.inline_bytes) == (CA, KEY)


def test_the_systems_roots_have_a_name(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").write_bytes(CA)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle"))
    assert next(ask("file-root:system")).validation_context.trusted_ca.inline_bytes == CA


def test_what_is_no_pem_file_is_never_handed_out(ask: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "token").write_bytes(b"eyJh")
    (tmp_path / "large").write_bytes(CA + b"x" * (1 << 19))
    for name, problem in (
        ("fifo", "is no file"),
        ("token", "has no certificate in PEM"),
        ("large", "has more than 524288 bytes"),
        ("none", "No such file or directory"),
    ):
        assert next(ask(f"file-root:{tmp_path / name}")) is None
        assert f"{tmp_path / name}: {problem}; TLS that a DestinationRule wants" in capfd.readouterr().err
    assert next(ask("other")) is None


def test_a_file_that_is_never_read_to_its_end_holds_up_no_identity(
    ask: Any, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, given_up = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> bytes:
        reading.set()
        given_up.wait()
        return CA

    monkeypatch.setattr(files, "_read", hang)
    found, outbox = ask("file-root:/mnt/gone"), queue.Queue[bytes | None]()
    waiting = threading.Thread(target=next, args=(found,), daemon=True)
    waiting.start()
    assert reading.wait(10)
    outbox.put(discovery_pb2.DiscoveryRequest(resource_names=["default"]).SerializeToString())
    try:
        assert next(iter(channel.stream_stream(secrets.METHOD, None, None)(iter(outbox.get, None), timeout=5)))
    finally:
        outbox.put(None)
        given_up.set()
        waiting.join(10)


def test_a_problem_that_returns_is_said_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    known, name = files._Files(), f"file-root:{tmp_path / 'none'}"
    for _ in range(2):
        assert known.get(name) is None
        assert known.get(name) is None
        assert capfd.readouterr().err.count("No such file") == 1
        known.forget_others(set())


def test_a_name_that_is_no_path_ends_nothing(ask: Any) -> None:
    for name in ("file-root:/a\0b", "file-cert:/a", "file-root:"):
        assert next(ask(name)) is None
