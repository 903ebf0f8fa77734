"""The traffic client as a real process against the echo, and against servers that misbehave."""

import ssl
from dataclasses import replace

import pytest

from fixtures.workloads.pod.certificate import make
from fixtures.workloads.traffic import Batch, OrderRefused
from tests.unit.workloads.helpers import URLS, serving, url


@pytest.mark.parametrize("protocol", list(URLS))
@pytest.mark.parametrize("fresh", [False, True])
def test_every_protocol(echo, client, protocol, fresh):
    found = client.batch(Batch(url(echo, protocol), protocol=protocol, count=20, concurrency=4, fresh=fresh))
    assert len(found) == 20
    assert all(record.ok for record in found)
    assert {record.pod for record in found} == {"echo-0"}
    assert {record.version for record in found} == {"v7"}
    assert sum(record.fresh for record in found) == (20 if fresh else 4)
    peers = {record.reply["peer"] for record in found if record.reply}
    assert len(peers) == (20 if fresh else 4)
    assert {record.status for record in found} == ({None} if protocol == "tcp" else {200})
    assert {record.grpc for record in found} == ({0} if protocol == "grpc" else {None})


@pytest.mark.parametrize(("protocol", "alpn"), [("http1", "http/1.1"), ("h2c", "h2")])
def test_through_tls(echo, client, protocol, alpn):
    (found,) = client.batch(Batch(f"https://localhost:{echo.https}/", protocol=protocol))
    assert found.reply["tls"]["alpn"] == alpn
    assert found.reply["tls"]["sni"] == "localhost"


def test_what_is_sent(echo, client):
    batch = Batch(
        f"http://127.0.0.1:{echo.http}/p?q=1",
        method="POST",
        headers={"Host": "shop", "X-One": "1"},
        body="hello",
    )
    for protocol in ("http1", "h2c"):
        (found,) = client.batch(Batch(**{**batch.__dict__, "protocol": protocol}))
        assert found.reply["method"] == "POST"
        assert found.reply["path"] == "/p?q=1"
        assert found.reply["host"] == "shop"
        assert found.reply["headers"]["x-one"] == ["1"]
        assert found.reply["body_bytes"] == 5
        assert found.headers["content-type"] == ["application/json"]


def test_large_bodies_and_large_answers(echo, client):
    for protocol in ("http1", "h2c", "grpc"):
        batch = Batch(f"http://127.0.0.1:{echo.http}/?size=60000", protocol=protocol, body="x" * 900_000, count=2)
        for found in client.batch(batch):
            assert found.ok
            assert found.reply["body_bytes"] >= 900_000
        (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/?size=3000000", protocol=protocol))
        assert found.ok
        assert found.reply is None
        assert found.detail == "the answer was too long to keep"


def test_statuses_and_methods(echo, client):
    for protocol in ("http1", "h2c"):
        base = f"http://127.0.0.1:{echo.http}/"
        (found,) = client.batch(Batch(f"{base}?codes=503", protocol=protocol))
        assert (found.status, found.error, found.ok, found.pod) == (503, None, False, "echo-0")
        (found,) = client.batch(Batch(f"{base}?codes=204", protocol=protocol))
        assert found.ok
        (found,) = client.batch(Batch(base, protocol=protocol, method="HEAD"))
        assert (found.status, found.reply) == (200, None)
    (found,) = client.batch(Batch(f"grpc://127.0.0.1:{echo.grpc}/any.Service/Method?codes=14", protocol="grpc"))
    assert (found.status, found.grpc, found.ok) == (200, 14, False)


def test_only_the_asked_fields_come_back(echo, client):
    (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/", fields=("pod", "path")))
    assert found.reply == {"pod": "echo-0", "path": "/"}
    assert found.headers is None
    (found,) = client.batch(Batch(f"http://127.0.0.1:{echo.http}/", fields=("response_headers",)))
    assert found.headers["content-type"] == ["application/json"]


# -- handshakes --------------------------------------------------------------------------------------------------------


def test_a_handshake_from_outside(echo, client):
    (found,) = client.batch(Batch(f"tls://127.0.0.1:{echo.https}", protocol="tls", alpn=("h2",)))
    assert found.ok
    assert found.tls["version"] == "TLSv1.3"
    assert found.tls["alpn"] == "h2"
    assert found.tls["client_certificate_requested"] is False
    assert found.tls["server_certificate"].startswith("-----BEGIN CERTIFICATE-----")


def tls_server(tmp_path, mode, version):
    (tmp_path / "pem").write_bytes(make(["server"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    context.load_verify_locations(tmp_path / "pem")
    context.verify_mode = mode
    context.minimum_version = context.maximum_version = version

    def behave(peer):
        with context.wrap_socket(peer, server_side=True) as session:
            session.recv(1)

    return serving(behave)


def test_a_server_that_asks_for_a_certificate_and_does_without(client, tmp_path):
    with tls_server(tmp_path, ssl.CERT_OPTIONAL, ssl.TLSVersion.TLSv1_3) as port:
        (found,) = client.batch(Batch(f"tls://127.0.0.1:{port}", protocol="tls"))
    assert found.tls["client_certificate_requested"] is True
    assert found.error is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_insists_on_a_certificate(client, tmp_path, version):
    with tls_server(tmp_path, ssl.CERT_REQUIRED, version) as port:
        (found,) = client.batch(Batch(f"tls://127.0.0.1:{port}", protocol="tls"))
        assert found.tls["client_certificate_requested"] is True
        assert found.error in {"tls", "reset", "eof"}
        own = make(["server"]).decode()
        key, certificate = own.split("-----BEGIN CERTIFICATE-----")
        batch = Batch(
            f"tls://127.0.0.1:{port}",
            protocol="tls",
            key=key,
            certificate=f"-----BEGIN CERTIFICATE-----{certificate}",
        )
        (found,) = client.batch(batch)
        assert found.error in {"tls", "reset", "eof"}, "a certificate of nobody's making"
        trusted = (tmp_path / "pem").read_text()
        key, certificate = trusted.split("-----BEGIN CERTIFICATE-----")
        batch = Batch(
            f"tls://127.0.0.1:{port}",
            protocol="tls",
            key=key,
            certificate=f"-----BEGIN CERTIFICATE-----{certificate}",
        )
        (found,) = client.batch(batch)
        assert found.error is None, found.detail


def test_a_bare_hello_is_answered_by_a_version_or_an_alert(echo, client):
    def offered(version):
        (found,) = client.batch(Batch(f"tls://127.0.0.1:{echo.https}", protocol="tls", tls_version=version))
        return found

    assert offered("TLSv1.2").tls == {"version": "TLSv1.2"}
    old = offered("TLSv1")
    # asyncio's server hangs up without a word; others send an alert
    assert old.error in {"tls", "eof", "reset"}
    assert not (old.tls or {}).get("version")


def test_a_bare_hello_to_a_server_that_is_none(echo, client):
    (found,) = client.batch(Batch(f"tls://127.0.0.1:{echo.http}", protocol="tls", tls_version="TLSv1.2"))
    assert found.error in {"tls", "eof"}
    assert not (found.tls or {}).get("version")


def test_a_certificate_that_is_none(client):
    with pytest.raises(OrderRefused, match="certificate or key cannot be read"):
        client.batch(Batch("tls://127.0.0.1:1", protocol="tls", certificate="x", key="y"))


def test_batches_are_sent_one_after_the_other_and_told_apart(echo, client):
    url = f"http://127.0.0.1:{echo.http}/"
    asked = [
        Batch(url, count=3, fields=("path",)),
        Batch(f"{url}second", fields=("path",)),
        Batch("http://127.0.0.1:1/"),
    ]
    first, second, third = client.batches(asked)
    assert [one.reply for one in first] == [{"path": "/"}] * 3
    assert [one.reply for one in second] == [{"path": "/second"}]
    assert [one.error for one in third] == ["refused"]
    assert max(one.start for one in first) <= second[0].start <= third[0].start
    assert client.batches([]) == []


def test_batches_to_one_address_share_their_connections(echo, client):
    url = f"http://127.0.0.1:{echo.http}/"
    plain, tls = Batch(url, count=6, concurrency=2), f"https://127.0.0.1:{echo.https}/"
    wider = Batch(f"{url}second", method="PUT", body="hello", count=4, concurrency=3)
    single, alone, other = replace(plain, concurrency=1), replace(plain, fresh=True), replace(plain, url=tls)
    found = client.batches([plain, wider, single, alone, other, other])
    assert [sum(one.fresh for one in records) for records in found] == [2, 1, 0, 6, 2, 2]
    said = [{(one.reply["method"], one.reply["path"], one.reply["body_bytes"]) for one in records} for records in found]
    assert said[:3] == [{("GET", "/", 0)}, {("PUT", "/second", 5)}, {("GET", "/", 0)}]
    peers = [{one.reply["peer"] for one in records} for records in found]
    assert peers[2] < peers[1] > peers[0]
    assert not peers[3] & peers[1]
    assert sum(one.fresh for one in client.batches([plain])[0]) == 2
