"""A cluster of nothing but the objects that it is given."""

import json

from chaos.log import LOG_NAMESPACE
from fixtures.kube import ApiProblem
from fixtures.kube.errors import refusal
from reports.errors import EnvironmentProblem


def refused(verb, kind):
    """What the API server says to a user without that right."""
    said = {"reason": "Forbidden", "message": f'{kind} is forbidden: User "ci" cannot {verb} resource "{kind}"'}
    return refusal(verb, f"/apis/rbac.authorization.k8s.io/v1/{kind}", 403, json.dumps(said).encode())


class Cluster:
    """Keeps objects by kind and name; `away` counts the calls that it will not answer.

    `limits` are those of the calls that have one of their own.
    """

    def __init__(self):
        self.objects = {}
        self.away = self.written = 0
        self.limits = []

    def _answer(self):
        if self.away:
            self.away -= 1
            raise EnvironmentProblem("the API server is away")

    def apply(self, *objects):
        self._answer()
        for one in objects:
            self.objects[one["kind"], one["metadata"]["name"]] = one
        return list(objects)

    def create(self, one):
        self._answer()
        if ("Namespace", LOG_NAMESPACE) not in self.objects:
            raise EnvironmentProblem("forbidden: the namespace is being terminated")
        if (one["kind"], one["metadata"]["name"]) in self.objects:
            raise ApiProblem("already exists", status=409)
        self._write(one)

    def _write(self, one):
        self.written += 1
        one = {**one, "metadata": {**one["metadata"], "resourceVersion": str(self.written)}}
        self.objects[one["kind"], one["metadata"]["name"]] = one

    def create_namespace(self, name):
        self.apply({"kind": "Namespace", "metadata": {"name": name}})

    def get(self, _, kind, name, _namespace=None, timeout=None):
        self.limits.append(timeout)
        self._answer()
        return self.objects.get((kind, name))

    def list(self, _, kind, *_namespace, **_query):
        self._answer()
        return [one for (its, _name), one in self.objects.items() if its == kind]

    def patch(self, _, kind, name, body, _namespace=None, subresource="", timeout=None):
        self.limits.append(timeout)
        self._answer()
        if kind == "Lease":
            lease = self.objects[kind, name]
            if body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
                raise ApiProblem("the object has been modified", status=409)
            self._write({**lease, "spec": body["spec"]})
            return {}
        assert subresource == "scale"
        self.objects[kind, name] = {**self.objects[kind, name], "spec": body["spec"]}
        return {}

    def delete(self, _, kind, name, _namespace=None, **_grace):
        self._answer()
        if kind == "Namespace":
            self.objects.pop(("Lease", "runner"), None)
        return self.objects.pop((kind, name), None) is not None
