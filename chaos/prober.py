"""The client without rights, in a pod outside the mesh: `python -m chaos.prober TARGET`. Never gives up, records all.

Three attacks in turn against a strict service: plaintext, TLS without a client certificate, and TLS with a client
certificate that names a legitimate identity but comes from a foreign authority made here. `GET /attempts?since=<n>`
on loopback gives what became of them. A connection that never came about is no refusal and is told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from chaos.model import ATTACKS, SILENCE

__all__ = ["CONTROL_PORT", "attempt", "foreign_certificate", "main"]

CONTROL_PORT = 16004
"""Loopback port with the records."""
EVERY_SECONDS = 0.25
"""Between two rounds of all attacks."""
PATIENCE_SECONDS = 1.0
"""How long one attack may take."""

Row = dict[str, object]


@dataclass(frozen=True)
class Target:
    """The strict service."""

    host: str
    port: int
    server_name: str = ""
    """Asked for in handshakes instead of the host."""


REQUEST = b"GET /?from=outsider HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"


def foreign_certificate(identity: str, directory: Path) -> Path:
    """A file with key and certificate for `identity`, a URI or a DNS name, by an authority that nobody trusts."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    named: x509.GeneralName
    named = x509.UniformResourceIdentifier(identity) if "://" in identity else x509.DNSName(identity)
    now = datetime.now(UTC)
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(root_name)
        .public_key(leaf_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([named]), critical=True)
        .add_extension(usage, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    key = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "foreign.pem"
    path.write_bytes(key + leaf.public_bytes(serialization.Encoding.PEM))
    return path


def _context(certificate: Path | None, alpn: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the attacker does not care whom it talks to
    if certificate is not None:
        context.load_cert_chain(certificate)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


async def attempt(attack: str, host: str, port: int, context: ssl.SSLContext | None, server_name: str = "") -> Row:
    """Try once to be served. `through` only when the workload itself answered, as its JSON shows."""
    began = time.time()
    row: Row = {"at": began, "attack": attack, "reached": False, "through": False, "detail": ""}
    writer = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            row["reached"] = True
            if context is not None:
                await writer.start_tls(context, server_hostname=server_name or host)
            writer.write(REQUEST % host.encode())
            await writer.drain()
            answer = await reader.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        row["through"] = head.split(b" ", 2)[1:2] == [b"200"] and b'"pod"' in body
        row["detail"] = head.split(b"\r\n", 1)[0].decode("latin-1") or "closed without an answer"
    except TimeoutError:
        row["detail"] = SILENCE
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        row["detail"] = f"{type(error).__name__}: {error}"
    finally:
        if writer is not None:
            writer.transport.abort()
    return row


async def _attack(target: Target, contexts: Mapping[str, ssl.SSLContext | None], rows: list[Row]) -> None:
    while True:
        round_over = asyncio.get_running_loop().time() + EVERY_SECONDS
        for attack, context in contexts.items():
            rows.append(await attempt(attack, target.host, target.port, context, target.server_name))
        await asyncio.sleep(max(0.0, round_over - asyncio.get_running_loop().time()))


async def _serve(port: int, rows: list[Row]) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The connection is kept: whoever asks for the clock again measures no way to the pod.
        while line := (await reader.readline()).decode("latin-1"):
            while (await reader.readline()).strip():
                pass
            parts = urlsplit(line.split(" ")[1] if line.count(" ") >= 2 else "/")
            since = parse_qs(parts.query).get("since", ["0"])[0]
            found = parts.path == "/attempts" and since.isdigit()
            told: object = (
                {"now": time.time(), "attempts": rows[int(since) :]} if found else {"problem": "GET /attempts"}
            )
            data = json.dumps(told).encode()
            status = "200 OK" if found else "404 Not Found"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port)


async def _run(target: Target, identity: str, alpn: list[str], control: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        foreign = _context(foreign_certificate(identity, Path(directory)), alpn)
    contexts = dict(zip(ATTACKS, (None, _context(None, []), foreign), strict=True))
    rows: list[Row] = []
    async with await _serve(control, rows):
        await _attack(target, contexts, rows)


def main(arguments: list[str] | None = None) -> None:
    """Attack until killed."""
    parser = argparse.ArgumentParser(prog="python -m chaos.prober", description="A client without rights.")
    parser.add_argument("target", help="host:port of the strict service")
    parser.add_argument("--identity", default="spiffe://cluster.local/ns/default/sa/default", help="identity to forge")
    parser.add_argument("--alpn", nargs="*", default=["istio", "http/1.1"], help="protocols offered with it")
    parser.add_argument("--server-name", default="", help="name asked for in handshakes; default: the service's")
    parser.add_argument("--port", type=int, default=CONTROL_PORT, help="loopback port with the records")
    given = parser.parse_args(arguments)
    host, _, number = given.target.rpartition(":")
    asyncio.run(_run(Target(host, int(number), given.server_name), given.identity, given.alpn, given.port))


if __name__ == "__main__":
    main()
