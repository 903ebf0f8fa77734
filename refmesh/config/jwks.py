"""Fetches the keys of token issuers, so that no proxy has to: bounded in time and size, kept while one is away.

What an issuer's server says is believed only if it is a set of public keys; nothing of any other answer is kept or
shown, because the address comes from whoever may write a RequestAuthentication.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from refmesh.api.hostnames import address_of, leads_back
from refmesh.api.key_sets import usable_keys
from refmesh.api.request_authentication import NOT_FETCHED
from refmesh.config.model import Snapshot
from refmesh.config.sharing import chosen

__all__ = ["KeyFetcher", "fetch", "wanted_addresses"]

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0
"""Where a rule says nothing else."""
_MAX_BYTES = 1 << 20
_MAX_ISSUERS = 500
_REFRESH_SECONDS = 20 * 60.0
_RETRY_SECONDS = (1.0, 60.0)


class NoKeys(Exception):
    """An issuer's keys cannot be had; the text says why without quoting the answer."""


class _Refused(OSError):
    """Nothing is fetched from an address."""


async def fetch(session: aiohttp.ClientSession, uri: str, seconds: float = _TIMEOUT_SECONDS) -> str:
    """The key set at an address. Raises `NoKeys`, after so many seconds at the latest."""
    try:
        # Not redirected: the address that was written is the one that is asked.
        async with session.get(uri, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
            if answer.status != 200:
                raise NoKeys(f"status {answer.status}")
            body = await answer.content.read(_MAX_BYTES + 1)
            while len(body) <= _MAX_BYTES and (part := await answer.content.read(_MAX_BYTES + 1 - len(body))):
                body += part
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, _Refused)
        raise NoKeys(str(error.os_error) if refused else type(error).__name__) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NoKeys(type(error).__name__) from error
    if len(body) > _MAX_BYTES:
        raise NoKeys(f"more than {_MAX_BYTES} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NoKeys("not text") from error
    if not (keys := usable_keys(text)):
        raise NoKeys("no usable public key")
    return keys


def wanted_addresses(snapshot: Snapshot) -> dict[str, float]:
    """The addresses from which keys are to be had, and the most seconds that a rule of each waits for them."""
    wanted, askers = dict[str, float](), list[tuple[str, str]]()
    for item in sorted(snapshot.request_authentications.values(), key=lambda item: item.meta.age_key):
        for rule in (rule for rule in item.rules if rule.jwks_uri):
            seconds = rule.timeout.total_seconds() if rule.timeout is not None else _TIMEOUT_SECONDS
            wanted[rule.jwks_uri] = max(seconds, wanted.get(rule.jwks_uri, 0.0))
            askers.append((item.meta.namespace, rule.jwks_uri))
    if len(wanted) > _MAX_ISSUERS:
        log.warning("keys are fetched for %d of %d issuers only", _MAX_ISSUERS, len(wanted))
    return {uri: wanted[uri] for uri in chosen(askers, snapshot.jwks.keys(), _MAX_ISSUERS)}


class KeyFetcher:
    """Keeps `put(uri, keys)` current for every address that the newest snapshot names; None forgets one.

    `own`: the control plane's own IP addresses, of which nothing is fetched.
    """

    def __init__(self, put: Callable[[str, str | None], None], own: Callable[[], Collection[str]] = tuple) -> None:
        self._put, self._own = put, own
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._seconds: dict[str, float] = {}
        self._session: aiohttp.ClientSession | None = None

    def offer(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot."""
        wanted = self._seconds = wanted_addresses(snapshot)
        # What was kept from before a restart is known although nobody fetches it yet.
        for uri in (self._tasks.keys() | snapshot.jwks.keys()) - wanted.keys():
            if (task := self._tasks.pop(uri, None)) is not None:
                task.cancel()
            self._put(uri, None)
        for uri in wanted:
            if uri not in self._tasks:
                name = f"keys of {_host(uri)}"
                self._tasks[uri] = asyncio.get_running_loop().create_task(self._follow(uri), name=name)

    async def close(self) -> None:
        """Stop fetching."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _follow(self, uri: str) -> None:
        delay = _RETRY_SECONDS[0]
        while True:
            if self._session is None:
                # Without a common limit of connections: silent issuers of one namespace would use it up, and others run
                # out of time before it is their turn. How many issuers there are is limited already.
                connector = aiohttp.TCPConnector(limit=0, socket_factory=self._socket)
                self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            try:
                self._put(uri, await fetch(self._session, uri, self._seconds[uri]))
            except NoKeys as problem:
                log.warning("the keys at %s cannot be had (%s); known ones stay in force", _host(uri), problem)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_SECONDS[1])
            else:
                delay = _RETRY_SECONDS[0]
                await asyncio.sleep(_REFRESH_SECONDS)

    def _socket(self, found: tuple[Any, ...]) -> socket.socket:
        """A socket for an address, as `getaddrinfo` gives it: asked last of all, whatever names have led to it."""
        family, kind, protocol, _, (host, *_) = found
        address = address_of(host)
        if address is None or leads_back(address) or str(address) in self._own():
            raise _Refused(NOT_FETCHED)
        return socket.socket(family, kind, protocol)


def _host(uri: str) -> str:
    """What of an address is for the log: there may be a password before it."""
    return urlsplit(uri).hostname or ""
