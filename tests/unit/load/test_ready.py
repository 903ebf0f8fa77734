"""How long pods are waited for, on a cluster of nothing."""

from typing import Any

import pytest

from fixtures.kube import NotEventually
from load.ready import LOOK_SECONDS, wait_ready
from reports.errors import EnvironmentProblem

LIMITED = 'failed to pull and unpack image "a/b:c": 429 Too Many Requests'


class Cluster:
    """Its one pod waits for an image until it is Ready, if ever, so many seconds after the beginning."""

    def __init__(self, reason="", message="", image="a/b:c", ready_at=1e9):
        waiting = {"reason": reason or "ContainerCreating", "message": message}
        status = {"name": "driver", "image": image, "state": {"waiting": waiting}}
        self.pod = {"metadata": {"name": "driver-1"}, "status": {"containerStatuses": [status]}}
        self.now, self.ready_at = 0.0, ready_at

    def wait_pods_ready(self, namespace, *, count, timeout):
        if self.ready_at > self.now + timeout:
            self.now += timeout
            raise NotEventually(f"{count} pods of {namespace}", timeout, None, 1)
        self.now = max(self.now, self.ready_at)

    def list(self, *_):
        return [self.pod]


def waited(cluster: Any, timeout: float = 60.0) -> Any:
    wait_ready(cluster, "space", 1, timeout, "a/b:c")
    return cluster.now


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"])
def test_a_pull_that_failed_once_is_waited_for_until_the_kubelet_tries_again(reason):
    assert waited(Cluster(reason, LIMITED, ready_at=21.0)) == 21.0


@pytest.mark.parametrize(
    ("reason", "message"),
    [("InvalidImageName", ""), ("ErrImageNeverPull", ""), ("ErrImagePull", "a/b:c: not found")],
)
def test_an_image_that_can_never_be_had_ends_the_wait_at_the_first_look(reason, message):
    cluster = Cluster(reason, message)
    with pytest.raises(EnvironmentProblem, match=r"the image a/b:c for the pod driver-1") as caught:
        waited(cluster)
    assert cluster.now == LOOK_SECONDS
    assert "--image" in caught.value.fix


def test_an_image_that_does_not_come_is_named_with_its_pod_and_what_to_do_after_the_limit():
    for image, fix in (("a/b:c", "--image"), ("corp/proxy", "nodes can pull it")):
        cluster = Cluster("ImagePullBackOff", LIMITED, image)
        with pytest.raises(EnvironmentProblem, match=rf"the image {image} for .*driver-1.*429") as caught:
            waited(cluster, 30.0)
        assert cluster.now == 30.0
        assert fix in caught.value.fix


def test_a_pod_that_only_starts_is_no_matter_of_images():
    assert waited(Cluster(ready_at=50.0)) == 50.0
    with pytest.raises(NotEventually, match=r"1 pods of space: not within 60 s"):
        waited(Cluster())
