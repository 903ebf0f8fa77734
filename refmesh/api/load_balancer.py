"""The block `loadBalancer` of a DestinationRule: which endpoint of a host gets the next request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from refmesh.api import locality
from refmesh.api.fields import MILLISECOND, Field, Invalid
from refmesh.api.locality import LocalitySetting

__all__ = ["CONSISTENT_HASH", "MOST_IN_RING", "BalancerBlock", "ConsistentHash", "HashKey", "Warmup", "read"]

CONSISTENT_HASH = "CONSISTENT_HASH"
"""The balancer of a block with `consistentHash`."""
_SIMPLE = ("UNSPECIFIED", "LEAST_REQUEST", "LEAST_CONN", "RANDOM", "ROUND_ROBIN", "PASSTHROUGH")
_KEYS = ("httpHeaderName", "httpQueryParameterName", "httpCookie", "useSourceIp")
MOST_IN_RING = 131_072
"""Entries: a hundred for each of 1,300 endpoints. Every proxy of the mesh has the ring; Envoy takes one of 200 MB."""
_RING_SIZE = 1024
# Primes, as Envoy demands; its own default, and about as many as of a ring.
_TABLE_SIZE, _TABLE_MOST = 65537, 131_071
_COOKIE_MOST = 256
"""Characters of each part of a cookie. Browsers keep no more than 4096 bytes of one."""


@dataclass(frozen=True)
class HashKey:
    """What of a request decides which endpoint gets it."""

    kind: Literal["header", "query", "cookie", "source-ip"]
    name: str = ""
    path: str = ""
    """Of the cookie."""
    lifetime: timedelta | None = None
    """Of the cookie that is made where a client brings none; zero: as long as the client's session."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Of that cookie, such as SameSite."""


@dataclass(frozen=True)
class ConsistentHash:
    """A key and the table that it is looked up in."""

    key: HashKey
    table: Literal["ring", "maglev"] = "ring"
    size: int = _RING_SIZE
    """Least entries of the ring, or entries of the table."""


@dataclass(frozen=True)
class Warmup:
    """How the share of a new endpoint grows: from `least` percent of its own to all, evenly if `aggression` is 1."""

    duration: timedelta
    least: float = 10.0
    aggression: float = 1.0


@dataclass(frozen=True)
class BalancerBlock:
    """The whole block."""

    simple: str | None = None
    hashing: ConsistentHash | None = None
    warmup: Warmup | None = None
    locality: LocalitySetting | None = None


def read(block: Field) -> BalancerBlock:
    """Read the block. Raises `Invalid`."""
    if not block.present:
        return BalancerBlock()
    block.only("simple", "consistentHash", "warmupDurationSecs", "warmup", "localityLbSetting")
    simple, hashed = block.get("simple"), block.get("consistentHash")
    if simple.present and hashed.present:
        raise Invalid(hashed.path, "cannot be combined with simple")
    chosen = simple.choice(*_SIMPLE, default="UNSPECIFIED")
    older, warmup = block.get("warmupDurationSecs"), block.get("warmup")
    if older.present and warmup.present:
        raise Invalid(older.path, "is the older form of warmup: leave it out")
    warmup = older if older.present else warmup
    if warmup.present and (
        hashed.present or chosen not in {"UNSPECIFIED", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN"}
    ):
        raise Invalid(warmup.path, "needs ROUND_ROBIN or LEAST_REQUEST")
    hashing = _consistent_hash(hashed) if hashed.present else None
    near = locality.read(block.get("localityLbSetting"))
    return BalancerBlock(CONSISTENT_HASH if hashing else chosen, hashing, _warmup(older, block.get("warmup")), near)


def _warmup(older: Field, block: Field) -> Warmup | None:
    if older.present:
        found = older.duration()
        return Warmup(found) if found is not None else None
    if not block.present:
        return None
    block.only("duration", "minimumPercent", "aggression")
    found = block.get("duration").duration(low=MILLISECOND)
    if found is None:
        raise Invalid(f"{block.path}.duration", "is required")
    aggression = block.get("aggression").number(1.0)
    if not aggression:
        raise Invalid(f"{block.path}.aggression", "must be above 0")
    return Warmup(found, block.get("minimumPercent").number(10.0), aggression)


def _consistent_hash(block: Field) -> ConsistentHash:
    block.only(*_KEYS, "ringHash", "maglev", "minimumRingSize")
    given = [name for name in _KEYS if block.get(name).present]
    if len(given) != 1:
        raise Invalid(block.path, f"needs exactly one of {', '.join(_KEYS)}")
    key = _key(block.get(given[0]), given[0])
    ring, maglev, older = block.get("ringHash"), block.get("maglev"), block.get("minimumRingSize")
    if maglev.present:
        if ring.present:
            raise Invalid(maglev.path, "cannot be combined with ringHash")
        size = maglev.only("tableSize").get("tableSize")
        found = size.integer(_TABLE_SIZE, low=2, high=_TABLE_MOST)
        if not _is_prime(found):
            raise Invalid(size.path, f"{found} is no prime number")
        return ConsistentHash(key, "maglev", found)
    least = ring.only("minimumRingSize").get("minimumRingSize")
    size = least if least.present else older
    return ConsistentHash(key, "ring", size.integer(_RING_SIZE, low=1, high=MOST_IN_RING))


def _key(value: Field, name: str) -> HashKey:
    if name == "httpHeaderName":
        return HashKey("header", value.text().lower())
    if name == "httpQueryParameterName":
        return HashKey("query", value.text())
    if name == "httpCookie":
        value.only("name", "path", "ttl", "attributes")
        lifetime = value.get("ttl").duration()
        attributes = tuple(
            (_cookie_text(item.only("name", "value").get("name")), _cookie_text(item.get("value"), ""))
            for item in value.get("attributes").each()
        )
        path = _short(value.get("path"), "")
        return HashKey("cookie", _cookie_text(value.get("name")), path, lifetime, attributes)
    if not value.boolean():
        raise Invalid(value.path, "false names no key: leave it out and give another")
    return HashKey("source-ip")


def _cookie_text(field: Field, default: str | None = None) -> str:
    text = _short(field, default)
    if not text.isascii() or set(text) & set('; ,="\\'):
        raise Invalid(field.path, f"cannot stand in a cookie: {text!r}")
    return text


def _short(field: Field, default: str | None = None) -> str:
    text = field.text(default)
    if len(text) > _COOKIE_MOST:
        raise Invalid(field.path, f"must have {_COOKIE_MOST} characters at most")
    return text


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
