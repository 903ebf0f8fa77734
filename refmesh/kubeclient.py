"""A small asynchronous Kubernetes client: get, list, create, replace, patch, delete and watch.

The control plane speaks to the API server through this and nothing else, because the official client costs a second of
start-up and tens of megabytes for its generated models. Objects are plain dictionaries, as the API server sends them.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from refmesh.errors import EnvironmentProblem, RefmeshError

if TYPE_CHECKING:
    from refmesh.login import Login

__all__ = ["LOST", "Conflict", "Expired", "Kube", "KubeError", "NotServed", "Page", "WatchEvent"]

JSON = dict[str, Any]
# Inside the class `list` is the method, so the annotation needs a name of its own.
Objects = list[JSON]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet rotates the token well before it expires; reading it again every minute is plenty.
_TOKEN_AGE_SECONDS = 60.0
# The API server sends a bookmark about once a minute on every watch. Longer silence is a dead connection.
_WATCH_SILENCE_SECONDS = 100.0
_WATCH_SECONDS = 290
_REQUEST_SECONDS = 30.0
# 0.2 + 0.4 + ... seconds: about six in all
_BUSY_RETRIES = 5
CHUNK = 500
"""Objects of one answer to a list."""


class KubeError(RefmeshError):
    """The API server answered with an error status."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Conflict(KubeError):
    """409: the object exists already, or was changed by somebody else meanwhile."""


class NotServed(KubeError):
    """404 on a collection: the API server does not serve this kind (yet)."""


class Expired(KubeError):
    """410: the resourceVersion is too old to resume a watch or a paged list; list again."""


LOST = (KubeError, aiohttp.ClientError, TimeoutError, OSError)
"""What a request may end in that is to be made again later."""


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watch. `kind` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    object: JSON

    @property
    def version(self) -> str:
        """The resourceVersion to resume from after this event."""
        return str(self.object.get("metadata", {}).get("resourceVersion", ""))


@dataclass(frozen=True)
class Page:
    """A collection, or a piece of it, and the resourceVersion it was read at."""

    items: list[JSON]
    version: str


@dataclass
class _Token:
    """A bearer token, fixed or read again from a file that is rotated under us."""

    value: str = ""
    path: Path | None = None
    read_at: float = 0.0

    def header(self) -> dict[str, str]:
        if self.path is not None and time.monotonic() - self.read_at > _TOKEN_AGE_SECONDS:
            self.value = self.path.read_text(encoding="utf-8").strip()
            self.read_at = time.monotonic()
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}


def _kind_path(api_version: str, plural: str, namespace: str | None) -> str:
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}


def _problem(status: int, body: bytes, path: str) -> tuple[str, bool]:
    """The API server's own sentence, and whether it is one (a proxy's 404 page is not)."""
    try:
        answer = json.loads(body)
    except ValueError:
        return f"The API server answered {status} to {path}.", False
    message = str(answer.get("message", "")) if isinstance(answer, dict) else ""
    return message or f"The API server answered {status} to {path}.", isinstance(answer, dict)


def _raise(status: int, body: bytes, path: str, *, collection: bool) -> None:
    problem, genuine = _problem(status, body, path)
    if status == 409:
        raise Conflict(status, problem)
    if status == 410:
        raise Expired(status, problem)
    if status == 404 and collection and (genuine or b"404 page not found" in body):
        raise NotServed(status, problem)
    raise KubeError(status, problem)


class Kube:
    """One API server. Build it with `in_cluster` or `from_kubeconfig`; close it when done."""

    def __init__(
        self, server: str, context: ssl.SSLContext | None, token: str = "", token_file: Path | None = None
    ) -> None:
        self._server = server.rstrip("/")
        self._ssl = context
        self._token: _Token | Login = _Token(token, token_file)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def in_cluster(cls) -> Kube:
        """The API server of the cluster this process runs in, with the pod's service account."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (_SERVICE_ACCOUNT / "token").exists():
            raise EnvironmentProblem(
                "This process does not run in a pod with a service account.", fix="Give --kubeconfig."
            )
        context = ssl.create_default_context(cafile=str(_SERVICE_ACCOUNT / "ca.crt"))
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", context, token_file=_SERVICE_ACCOUNT / "token")

    @classmethod
    def from_kubeconfig(cls, path: Path | None = None, context: str | None = None) -> Kube:
        """The API server of a kubeconfig context (the current one by default)."""
        from refmesh.kubeconfig import located, read_kubeconfig  # not needed inside a pod

        target = read_kubeconfig(*located(path, context))
        found = cls(target.server, target.context, target.token)
        if target.login is not None:
            found._token = target.login
        return found

    def apart(self) -> Kube:
        """The same API server over connections of its own, so that what waits here does not hold up what waits there.

        Close it when done.
        """
        other = Kube(self._server, self._ssl)
        other._token = self._token
        return other

    # ------------------------------------------------------------------------------------------------------ requests
    def session(self) -> aiohttp.ClientSession:
        """The connection pool, made on first use inside the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._ssl if self._ssl is not None else True, limit=64)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        collection: bool = False,
    ) -> JSON:
        """One request; the answer's JSON. Raises a `KubeError` for an error status."""  # fmt: skip
        headers = {**self._token.header(), "Accept": "application/json"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), content_type
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        url = self._server + path
        attempt = 0
        while True:
            async with self.session().request(
                method, url, data=data, headers=headers, params=query, timeout=timeout
            ) as reply:
                content = await reply.read()
            # "Not now": overload, or a kind so new that its storage is still being set up. Nothing was done.
            if reply.status != 429 or attempt >= _BUSY_RETRIES:
                break
            attempt += 1
            await asyncio.sleep(0.1 * 2**attempt)
        if reply.status >= 400:
            _raise(reply.status, content, path, collection=collection)
        answer = json.loads(content)
        return answer if isinstance(answer, dict) else {}

    async def get(self, api_version: str, plural: str, name: str, namespace: str | None = None) -> JSON | None:
        """The object, or None where there is none."""
        try:
            return await self.request("GET", f"{_kind_path(api_version, plural, namespace)}/{name}")
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, api_version: str, plural: str, namespace: str | None = None, selector: str = "") -> Objects:
        """Every object of a kind. Raises `NotServed` where the API server does not know the kind."""
        return (await self.page(api_version, plural, namespace, selector)).items

    async def page(
        self, api_version: str, plural: str, namespace: str | None = None, selector: str = "", fields: str = ""
    ) -> Page:
        """Every object of a kind with the resourceVersion to watch from.

        `selector` is of labels, `fields` of fields, such as `spec.nodeName=n1`.
        """
        items, version = list[JSON](), ""
        async for page in self.pages(api_version, plural, namespace, selector, fields):
            items += page.items
            version = page.version
        return Page(items, version)

    async def pages(
        self, api_version: str, plural: str, namespace: str | None = None, selector: str = "", fields: str = ""
    ) -> AsyncIterator[Page]:
        """The same in pieces of `CHUNK` objects, for whoever keeps less of an object than what is sent of it.

        All of them are of one moment, whose resourceVersion each has (Kubernetes API concepts, "Retrieving large
        results sets in chunks"); a list that takes too long ends in `Expired`.
        """
        query = {"limit": str(CHUNK), **_selectors(selector, fields)}
        path = _kind_path(api_version, plural, namespace)
        while True:
            answer = await self.request("GET", path, query=query, collection=True)
            metadata = answer.get("metadata") or {}
            yield Page(answer.get("items") or [], str(metadata.get("resourceVersion", "")))
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def create(self, api_version: str, plural: str, body: JSON, namespace: str | None = None) -> JSON:
        """Create an object (a TokenReview too) and return what the API server made of it."""
        return await self.request("POST", _kind_path(api_version, plural, namespace), body, collection=True)

    async def replace(self, api_version: str, plural: str, name: str, body: JSON, namespace: str | None = None) -> JSON:
        """Replace an object; with a resourceVersion in it, only if nobody changed it meanwhile."""
        return await self.request("PUT", f"{_kind_path(api_version, plural, namespace)}/{name}", body)

    async def patch(
        self,
        api_version: str,
        plural: str,
        name: str,
        body: Any,
        namespace: str | None = None,
        *,
        subresource: str = "",
        content_type: str = "application/merge-patch+json",
    ) -> JSON:
        """Patch an object or one of its subresources."""  # fmt: skip
        path = f"{_kind_path(api_version, plural, namespace)}/{name}" + (f"/{subresource}" if subresource else "")
        return await self.request("PATCH", path, body, content_type=content_type)

    async def delete(self, api_version: str, plural: str, name: str, namespace: str | None = None) -> None:
        """Delete an object; deleting what is not there is fine."""
        try:
            await self.request("DELETE", f"{_kind_path(api_version, plural, namespace)}/{name}")
        except KubeError as error:
            if error.status != 404:
                raise

    async def watch(
        self,
        api_version: str,
        plural: str,
        version: str,
        namespace: str | None = None,
        selector: str = "",
        fields: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Events after `version`, until the API server ends the watch. Raises `Expired` when it is too old."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
            **_selectors(selector, fields),
        }
        path = _kind_path(api_version, plural, namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SILENCE_SECONDS)
        headers = {**self._token.header(), "Accept": "application/json"}
        async with self.session().get(self._server + path, params=query, headers=headers, timeout=timeout) as reply:
            if reply.status >= 400:
                _raise(reply.status, await reply.read(), path, collection=True)
            async for line in _lines(reply.content):
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    _raise(int(status.get("code") or 500), json.dumps(status).encode(), path, collection=True)
                yield WatchEvent(event["type"], event["object"])

    async def text(self, path: str, query: Mapping[str, str]) -> str:
        """A page of the API server that is plain text, such as a container's log. Raises `KubeError`."""  # fmt: skip
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        headers = self._token.header()
        async with self.session().get(self._server + path, headers=headers, params=query, timeout=timeout) as reply:
            content = await reply.read()
        if reply.status >= 400:
            _raise(reply.status, content, path, collection=False)
        return content.decode("utf-8", "replace")

    async def exec(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> bytes:
        """Run a command in a container and return its output. Raises `KubeError` if it cannot start or fails."""
        query = [("container", container), ("stdout", "1"), ("stderr", "1"), *(("command", part) for part in command)]
        url = f"{self._server}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        output: dict[int, bytearray] = {1: bytearray(), 2: bytearray(), 3: bytearray()}
        try:
            async with self.session().ws_connect(
                url, params=query, headers=self._token.header(), protocols=("v5.channel.k8s.io",), max_msg_size=0
            ) as socket:
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.BINARY and message.data:
                        # the first byte says which stream: 1 output, 2 errors, 3 how the command ended
                        output.setdefault(message.data[0], bytearray()).extend(message.data[1:])
        except aiohttp.WSServerHandshakeError as error:
            raise KubeError(
                error.status, f"No command can be run in container {container} of pod {namespace}/{pod}."
            ) from error
        end = json.loads(output[3] or b"{}")
        if end.get("status") == "Failure":
            raise KubeError(500, output[2].decode(errors="replace").strip() or str(end.get("message")))
        return bytes(output[1])

    def port_stream(self, namespace: str, pod: str, port: int, protocol: str) -> Any:
        """A web socket to a port of a pod, to be used by `async with`. Raises aiohttp's errors."""
        url = f"{self._server}/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        query = {"ports": str(port)}
        headers = self._token.header()
        return self.session().ws_connect(url, params=query, headers=headers, protocols=(protocol,), max_msg_size=0)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            # TLS transports finish closing one loop turn later; without it the loop warns of unclosed sockets.
            await asyncio.sleep(0)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; the reader's own `readline` refuses long ones, and an object may have a megabyte."""
    parts: list[bytes] = []
    async for chunk in stream.iter_any():
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            line = b"".join([*parts, piece])
            parts.clear()
            if line.strip():
                yield line
        if rest:
            parts.append(rest)
