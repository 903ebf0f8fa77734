import asyncio
import json
import ssl

import pytest
from cryptography import x509

from chaos.prober import _serve, attempt, foreign_certificate

OPEN = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"pod": "echo-1"}'
DENIED = b'HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n{"pod": "?"}'
STRANGER = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello from a proxy"


async def tried(answer, reset=False):
    async def serve(reader, writer):
        await reader.readline()
        if reset:
            writer.transport.abort()
            return
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await attempt("plaintext", "127.0.0.1", server.sockets[0].getsockname()[1], None)


async def test_the_workloads_own_answer_is_a_breach():
    row = await tried(OPEN)
    assert (row["reached"], row["through"]) == (True, True)


async def test_a_refusal_by_status_or_reset_is_none():
    assert (await tried(DENIED))["through"] is False
    row = await tried(b"", reset=True)
    assert (row["reached"], row["through"]) == (True, False)


async def test_an_answer_of_somebody_else_is_none():
    assert (await tried(STRANGER))["through"] is False


async def test_nobody_there_is_not_reached():
    row = await attempt("plaintext", "127.0.0.1", 1, None)
    assert (row["reached"], row["through"]) == (False, False)


async def test_tls_towards_a_plain_port_is_refused():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def serve(reader, writer):
        await reader.read(100)
        writer.write(OPEN)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        row = await attempt("tls", "127.0.0.1", server.sockets[0].getsockname()[1], context)
    assert (row["reached"], row["through"]) == (True, False)


async def test_a_handshake_asks_for_the_name_by_which_the_proxy_knows_it():
    hellos = []

    async def serve(reader, writer):
        hellos.append(await reader.read(2000))
        writer.transport.abort()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        await attempt("tls", "127.0.0.1", server.sockets[0].getsockname()[1], context, "b.a.identity.mesh")
    assert b"b.a.identity.mesh" in hellos[0]


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ("spiffe://cluster.local/ns/a/sa/b", x509.UniformResourceIdentifier),
        ("b.a.serviceaccount.identity.linkerd.cluster.local", x509.DNSName),
    ],
)
def test_the_foreign_certificate_names_the_stolen_identity(tmp_path, identity, kind):
    path = foreign_certificate(identity, tmp_path)
    leaf = x509.load_pem_x509_certificate(path.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(kind) == [identity]
    assert leaf.issuer != leaf.subject
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(path)


async def test_its_records_are_asked_for_twice_on_one_connection():
    async with await _serve(0, [{"at": 1.0}]) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        for since, rows in ((0, 1), (1, 0)):
            writer.write(f"GET /attempts?since={since} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            told = json.loads(await reader.readexactly(int(head.rpartition(b":")[2])))
            assert len(told["attempts"]) == rows
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
