from typing import Any

import pytest

from fixtures.kube import ApiProblem, Kube


class Cluster(Kube):
    """Creates a namespace, and then ends as it is told to; says which were deleted."""

    def __init__(self, ends=None, refuses=None):
        api: Any = None
        super().__init__(api)
        self.ends, self.refuses = ends, refuses
        self.deleted: list[str] = []

    def create_namespace(self, *_):
        if self.ends is not None:
            raise self.ends

    def delete(self, api_version, kind, name, *_, **__):
        assert (api_version, kind) == ("v1", "Namespace")
        self.deleted.append(name)
        if self.refuses is not None:
            raise self.refuses
        return True


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), ApiProblem("the pull secret was refused")])
@pytest.mark.parametrize("refuses", [None, ApiProblem("not yours to delete")])
def test_what_a_creation_that_broke_off_has_made_is_deleted(ends, refuses):
    kube = Cluster(ends, refuses)
    with pytest.raises(type(ends)) as raised, kube.namespace("ours"):
        pytest.fail("there is no namespace")
    assert raised.value is ends
    assert kube.deleted == ["ours"]


def test_a_deletion_that_is_refused_is_told():
    with (
        pytest.raises(ApiProblem, match="not yours"),
        Cluster(refuses=ApiProblem("not yours to delete")).namespace("o"),
    ):
        pass
