"""The janitor's client of the API server: the five calls an undo needs, on the standard library alone."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from reports.errors import EnvironmentProblem

__all__ = ["InCluster", "path_of"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Lease": "leases",
    "Namespace": "namespaces",
    "Pod": "pods",
}


def path_of(api_version: str, kind: str, name: str = "", namespace: str | None = None, subresource: str = "") -> str:
    """The REST path of an object or, without a name, of a collection."""
    parts = ["apis" if "/" in api_version else "api", api_version]
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts += [PLURALS[kind], quote(name, safe=""), subresource]
    return "/" + "/".join(part for part in parts if part)


class InCluster:
    """The API server as seen from a pod, with the pod's own service account."""

    def __init__(self, host: str, port: int, account: Path = ACCOUNT) -> None:
        self._address = (host, port)
        self._account = account
        self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))

    @classmethod
    def connect(cls) -> InCluster:
        """From the variables that every pod has."""
        return cls(os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]))

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object, or None."""
        return self._call("GET", path_of(api_version, kind, name, namespace))

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str | Mapping[str, str] = ""
    ) -> list[dict[str, Any]]:
        """Objects of a kind."""
        text = selector if isinstance(selector, str) else ",".join(f"{k}={v}" for k, v in selector.items())
        query = f"?{urlencode({'labelSelector': text})}" if text else ""
        answer = self._call("GET", path_of(api_version, kind, namespace=namespace) + query)
        return list((answer or {}).get("items", ()))

    def patch(
        self, api_version: str, kind: str, name: str, body: object, namespace: str | None = None, subresource: str = ""
    ) -> dict[str, Any]:
        """A merge patch; raises EnvironmentProblem where the object is not there."""
        path = path_of(api_version, kind, name, namespace, subresource)
        answer = self._call("PATCH", path, body, "application/merge-patch+json")
        if answer is None:
            raise EnvironmentProblem(f"there is no {path}")
        return answer

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete; True if it was there."""
        return self._call("DELETE", path_of(api_version, kind, name, namespace)) is not None

    def _call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> dict[str, Any] | None:
        """One request; None for a 404. Raises EnvironmentProblem for every other failure."""
        connection = http.client.HTTPSConnection(*self._address, context=self._tls, timeout=10)
        try:
            token = (self._account / "token").read_text()  # read each time: the kubelet renews it
            headers = {"Authorization": f"Bearer {token.strip()}", "Content-Type": content_type}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise EnvironmentProblem(f"{method} {path}: {problem}") from problem
        finally:
            connection.close()
        if reply.status == 404:
            return None
        if reply.status >= 400 or not isinstance(answer, dict):
            raise EnvironmentProblem(f"the API server answered {reply.status} to {method} {path}: {answer}")
        return answer
