"""Rendered intents on their way into a cluster, whose own definitions may be older than what a mesh has words for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fixtures.kube import ApiProblem, Kube

__all__ = ["NotExpressible", "Refused", "merge", "put", "says"]

_UNDECLARED = re.compile(r'(\S+): field not declared in schema|unknown field "([^"]+)"')
"""How the API server says that the definition of a kind has no such field: to a server-side apply, and otherwise."""
_UNLISTED = re.compile(r"([^\s\[]\S*): Unsupported value: (\S+): supported values")
"""How it says that the definition of a kind lists other values for a field."""
GATEWAY_API = "gateway.networking.k8s.io/"
"""Its definitions are the cluster's and no mesh's own: which release they are of, a mesh need not say."""


class NotExpressible(Exception):
    """The adapter declares that the mesh cannot express an intent."""


class Refused(ApiProblem):
    """The API server, or a webhook that it asked, will not have a configuration of the mesh. It is the mesh's word.

    What is refused of anything else, such as a pod, is the cluster's or its user's: quotas and policies are no mesh's.
    """


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except ApiProblem as error:
        if error.denied:
            raise Refused(
                error.problem, status=error.status, reason=error.reason, message=error.message, fix=error.fix
            ) from error
        raise


def merge(kube: Kube, part: Mapping[str, Any]) -> None:
    """Merge a part of an object that is there already. `Refused` where it is denied."""
    meta = part["metadata"]
    with _telling():
        kube.patch(part["apiVersion"], part["kind"], meta["name"], part, meta.get("namespace"))


def says(kube: Kube, part: Mapping[str, Any]) -> bool:
    """Whether a namespace says that already. The ground's were created with what stands, so its pods have it."""
    live = (kube.get("v1", "Namespace", part["metadata"]["name"]) or {}).get("metadata", {})
    return all(
        part["metadata"].get(field, {}).items() <= (live.get(field) or {}).items()
        for field in ("labels", "annotations")
    )


def put(kube: Kube, item: Mapping[str, Any]) -> None:
    """Apply an object. `NotExpressible` where the cluster's definition of its kind lacks what it says, else `Refused`.

    Server-side apply is strict by itself: a field that the definition lacks is refused, not dropped.
    """
    try:
        with _telling():
            kube.apply(item)
    except ApiProblem as error:
        if lacking := _UNDECLARED.search(error.message):
            field = (lacking[1] or lacking[2]).removeprefix(".")
            raise NotExpressible(f"this cluster's definition of {item['kind']} has no {field}") from error
        if item["apiVersion"].startswith(GATEWAY_API) and (other := _UNLISTED.search(error.message)):
            what = f"{other[2]} for {other[1]}"
            raise NotExpressible(f"this cluster's definition of {item['kind']} does not list {what}") from error
        raise
