"""What a user without some right is told, and what is left behind for want of it: nothing."""

from typing import Any

import pytest

from chaos.faults import ScaleToZero
from chaos.faults.space import Space
from chaos.guard import guard
from chaos.janitor_objects import rights_objects
from chaos.log import LOG_NAMESPACE
from chaos.restoring import restore
from fixtures.kube import ApiProblem
from tests.unit.chaos.made_up_cluster import Cluster, refused


class Limited(Cluster):
    """Refuses these of the user's wishes: (verb, kind)."""

    def __init__(self, *without):
        super().__init__()
        self.without = without

    def _expect(self, verb, kind):
        if (verb, kind) in self.without:
            raise refused(verb, kind)

    def apply(self, *objects):
        for one in objects:
            self._expect("patch", one["kind"])
        return super().apply(*objects)

    def list(self, _, kind, *namespace, **query):
        self._expect("list", kind)
        return super().list(_, kind, *namespace, **query)

    def delete(self, _, kind, *name, **how):
        self._expect("delete", kind)
        return super().delete(_, kind, *name, **how)


ALL_ROLES = [(verb, kind) for verb in ("patch", "list", "delete") for kind in ("ClusterRole", "ClusterRoleBinding")]
LISTING = [("list", kind) for kind in ("RoleBinding", "Role", "ClusterRoleBinding", "ClusterRole")]


def test_a_right_that_is_missing_is_the_error_and_nothing_is_left():
    cluster: Any = Limited(*ALL_ROLES)
    with pytest.raises(ApiProblem, match="cannot patch"), guard(cluster, "image", "me") as allow:
        allow([Space.rights("meshproof-chaos-1")])
    assert ("Namespace", LOG_NAMESPACE) not in cluster.objects


def test_the_janitors_rights_are_taken_back_also_by_who_may_not_look_for_them():
    cluster: Any = Limited(*LISTING)
    with guard(cluster, "image", "me") as allow:
        allow([Space.rights("meshproof-chaos-1")])
        allow(ScaleToZero("mesh", "plane").rights())
        assert ("ClusterRole", "meshproof-janitor") in cluster.objects
    assert [kind for kind, _ in cluster.objects if "Role" in kind] == []
    assert ("Namespace", LOG_NAMESPACE) not in cluster.objects


def test_restoring_takes_as_many_of_the_janitors_rights_back_as_the_user_may_look_for():
    cluster: Any = Limited(*LISTING[:2])
    cluster.apply(*rights_objects([Space.rights("meshproof-chaos-1")]))
    restore(cluster, force=True)
    assert cluster.objects == {}
