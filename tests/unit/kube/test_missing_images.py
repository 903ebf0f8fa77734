"""Which container has no image, of what pods say."""

from fixtures.kube.missing_images import missing_image


def pod(reason, kind="containerStatuses", image="a/b:c"):
    status = {"name": "main", "image": image, "state": {"waiting": {"reason": reason}}}
    return {"metadata": {"name": "p"}, "status": {kind: [status]}}


def test_an_image_that_nobody_has_is_named():
    for first in (pod("ErrImagePull"), pod("ImagePullBackOff", "initContainerStatuses")):
        found = missing_image([pod("ContainerCreating"), first], "own")
        assert found is not None
        assert (found.pod, found.container, found.image) == ("p", "main", "a/b:c")


def test_one_that_is_waited_for_in_vain_comes_before_others():
    found = missing_image([pod("ErrImagePull"), pod("InvalidImageName", image="A B")], "own")
    assert found is not None
    assert found.image == "A B"
    assert found.in_vain("own")


def test_a_pod_that_only_starts_is_no_reason():
    assert missing_image([pod("ContainerCreating"), {"status": {}}, {}], "own") is None
    assert missing_image([], "own") is None
