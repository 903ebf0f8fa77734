"""Istio's annotation `proxy.istio.io/config`, as far as refmesh has such settings, in the words of refmesh's own.

It holds a ProxyConfig as YAML: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from refmesh.api.fields import Field
from refmesh.injector import plain_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

__all__ = ["PROXY_CONFIG", "own_words", "untaken"]

PROXY_CONFIG = "proxy.istio.io/config"
_LIFETIME = "SECRET_TTL"
"""Of `proxyMetadata`: for how long the proxy's certificate is asked for (istio-agent's environment)."""
_ALREADY = {"holdApplicationUntilProxyStarts": True}
"""What holds for every proxy of refmesh."""
_LONGEST = 8 << 10
"""Letters of it."""
_TAKEN = {"concurrency", "drainDuration", "terminationDrainDuration", "proxyMetadata"}


def own_words(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations with what Istio's says in refmesh's own, which win. Raises ValueError naming the field."""
    config = Field(_document(annotations), f"annotation {PROXY_CONFIG}")
    said = {
        "concurrency": _whole(config.get("concurrency")),
        "drainSeconds": _seconds(config.get("terminationDrainDuration").duration()),
        "listenerDrainSeconds": _seconds(config.get("drainDuration").duration()),
        "certificateSeconds": _seconds(config.get("proxyMetadata").get(_LIFETIME).duration()),
    }
    return {f"proxy.refmesh.io/{key}": value for key, value in said.items() if value} | dict(annotations)


def untaken(annotations: Mapping[str, str]) -> list[str]:
    """Return the fields that refmesh's proxies do not follow."""
    found = _document(annotations)
    metadata = found.get("proxyMetadata")
    inner = metadata if isinstance(metadata, dict) else {}
    return [
        *(key for key, value in found.items() if key not in _TAKEN and _ALREADY.get(key) != value),
        *(["concurrency 0"] if found.get("concurrency") == 0 else []),
        *(f"proxyMetadata.{key}" for key in inner if key != _LIFETIME),
    ]


def _document(annotations: Mapping[str, str]) -> dict[str, Any]:
    text = annotations.get(PROXY_CONFIG)
    if not text:
        return {}
    try:
        found = plain_yaml.load(text, _LONGEST)
    except ValueError as error:
        raise ValueError(f"annotation {PROXY_CONFIG}: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"annotation {PROXY_CONFIG}: holds no mapping of ProxyConfig's fields")
    return found


def _whole(value: Field) -> str:
    """Worker threads; Istio's 0, a thread for each core, is none of what refmesh does."""
    return str(value.integer() or "") if value.present else ""


def _seconds(found: timedelta | None) -> str:
    """Whole seconds, of which refmesh takes eleven days at the most: its authority signs for less in any case."""
    return "" if found is None else str(min(math.ceil(found.total_seconds()), 999_999))
