"""Files that the user mounted into the sidecar, as secrets: CA certificates, client certificates and their keys.

They are read here and not by Envoy, which would refuse a cluster that names a missing file. Here that is a log line and
TLS that stays closed until the file is there. Names are Istio's: `file-root:PATH`, `file-cert:CERTIFICATE~KEY`, and
`file-root:system` for the operating system's CA certificates.

The delta form of SDS, since it alone can say that there is no such secret: Envoy then goes on without waiting for it.
"""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

from refmesh.agent.settings import log
from refmesh.ca import wire

if TYPE_CHECKING:
    from refmesh.agent.grpc import Session

__all__ = ["METHOD", "FileServer", "read_request", "response"]

METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"
_TYPE_URL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_POLL_SECONDS = 3.0
_ROOT, _PAIR = "file-root:", "file-cert:"
_SYSTEM_PATH = "/etc/ssl/certs/ca-certificates.crt"
_MAX_BYTES = 1 << 19
_CERTIFICATE, _KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"


def read_request(message: bytes) -> tuple[set[str], set[str], str]:
    """Of a DeltaDiscoveryRequest the names asked for, those not any more, and an error. Raises `wire.Malformed`."""
    names: dict[int, set[str]] = {3: set(), 4: set()}
    error = ""
    for number, value in wire.fields(message):
        if number in names and isinstance(value, bytes):
            names[number].add(value.decode(errors="replace"))
        elif number == 7 and isinstance(value, bytes):
            texts = (v.decode(errors="replace") for n, v in wire.fields(value) if n == 2 and isinstance(v, bytes))
            error = next(texts, "")
    return names[3], names[4], error


def response(version: str, secrets: dict[str, bytes | None]) -> bytes:
    """Return a DeltaDiscoveryResponse with these Secrets by name; None is one that does not exist."""
    made = wire.text(1, version)
    for name, secret in secrets.items():
        if secret is None:
            made += wire.length_delimited(6, name.encode())
            continue
        content = wire.length_delimited(2, wire.text(1, _TYPE_URL) + wire.length_delimited(2, secret))
        made += wire.length_delimited(2, wire.text(1, version) + content + wire.text(3, name))
    return made + wire.text(4, _TYPE_URL) + wire.text(5, version)


class FileServer:
    """Answers streams, and looks at the files again every `poll_seconds` from the first time that one is asked for.

    One thread reads and answers. A file of a network's may hold it up for good, and then nobody else: a session has
    the proxy's own certificate to serve as well.
    """

    def __init__(self, poll_seconds: float = _POLL_SECONDS) -> None:
        self._poll_seconds = poll_seconds
        self._files = _Files()
        self._streams: dict[tuple[Session, int], set[str]] = {}
        self._unanswered: dict[tuple[Session, int], set[str]] = {}
        self._version = 0
        self._watching = False
        self._asked = threading.Event()
        self._lock = threading.Lock()

    def on_message(self, session: Session, stream: int, message: bytes) -> None:
        """A DeltaDiscoveryRequest on a stream."""
        try:
            wanted, dropped, error = read_request(message)
        except wire.Malformed:
            return
        with self._lock:
            names = self._streams.setdefault((session, stream), set())
            if error:
                log(f"Envoy rejected {' '.join(sorted(names))}: {error}")
            names -= dropped
            names |= wanted
            self._unanswered.setdefault((session, stream), set()).update(wanted)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="files", daemon=True).start()
        if wanted:
            self._asked.set()

    def on_closed(self, session: Session, stream: int) -> None:
        """The stream has ended."""
        with self._lock:
            self._streams.pop((session, stream), None)
            self._unanswered.pop((session, stream), None)

    def _watch(self) -> None:
        while True:
            self._asked.wait(self._poll_seconds)
            self._asked.clear()
            self._look()

    def _look(self) -> None:
        with self._lock:
            unanswered, self._unanswered = self._unanswered, {}
            streams = {where: frozenset(names) for where, names in self._streams.items()}
        wanted = set().union(*streams.values())
        self._files.forget_others(wanted)
        changed = {name for name in wanted if self._files.changed(name)}
        for (session, stream), names in streams.items():
            if due := names & (changed | unanswered.get((session, stream), set())):
                self._version += 1
                found = {name: self._files.get(name) for name in sorted(due)}
                session.send(stream, response(str(self._version), found))


class _Files:
    """What was read last, by name. What cannot be read (any more) leaves what is known, and a line in the log."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, bytes | None]] = {}
        self._problems: dict[str, str] = {}

    def get(self, name: str) -> bytes | None:
        """The Secret as protobuf; None as long as it cannot be read."""
        if name not in self._known:
            self.changed(name)
        return self._known[name][1]

    def changed(self, name: str) -> bool:
        """Look at the files again, and say whether there is another secret now."""
        paths = _paths(name)
        before, secret = self._known.get(name, (None, None))
        # Taken first: what changes while it is read is read again.
        seen = tuple(map(_mark, paths))
        if name in self._known and seen == before:
            return False
        made = secret
        try:
            made = _secret(name, [_read(path, key=index == 1) for index, path in enumerate(paths)])
        except (OSError, ValueError) as error:
            problem = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
            where = error.filename if isinstance(error, OSError) and error.filename else " and ".join(paths)
            if self._problems.get(name) != f"{where}{problem}":
                self._problems[name] = f"{where}{problem}"
                rest = "the ones before stay in use" if secret else "TLS that a DestinationRule wants with it is closed"
                log(f"{where}: {problem}; {rest}")
        else:
            self._problems.pop(name, None)
        self._known[name] = (seen, made)
        return made != secret

    def forget_others(self, names: set[str]) -> None:
        """Nobody asks for anything but these."""
        for name in self._known.keys() - names:
            del self._known[name]
            self._problems.pop(name, None)


def _paths(name: str) -> list[str]:
    if name.startswith(_PAIR):
        return name.removeprefix(_PAIR).split("~", 1)
    path = name.removeprefix(_ROOT)
    return [(os.environ.get("SSL_CERT_FILE") or _SYSTEM_PATH) if path == "system" else path]


def _mark(path: str) -> object:
    try:
        found = os.stat(path)  # noqa: PTH116  (pathlib costs the agent 5 ms of start)
    except OSError as error:
        return error.errno
    except ValueError:  # no path can be called so; `_read` says it
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: str, *, key: bool) -> bytes:
    """A file in PEM. Raises OSError, and ValueError for what is none."""
    if not path.startswith("/"):
        raise ValueError("is no absolute path")
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise ValueError("is no file")
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"has more than {_MAX_BYTES} bytes")
    if (_KEY if key else _CERTIFICATE) not in content:
        raise ValueError(f"has no {'private key' if key else 'certificate'} in PEM")
    return content


def _secret(name: str, contents: list[bytes]) -> bytes:
    inline = [
        wire.length_delimited(number, wire.length_delimited(2, content)) for number, content in enumerate(contents, 1)
    ]
    # Field 2 is a certificate with its key, 4 is what peers are verified against.
    return wire.text(1, name) + wire.length_delimited(2 if name.startswith(_PAIR) else 4, b"".join(inline))
