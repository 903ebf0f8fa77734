from load.ready import missing_image


def pod(reason, kind="containerStatuses"):
    return {"status": {kind: [{"image": "a/b:c", "state": {"waiting": {"reason": reason}}}]}}


def test_an_image_that_nobody_has_is_named():
    assert missing_image([pod("ContainerCreating"), pod("ErrImagePull")]) == "a/b:c"
    assert missing_image([pod("ImagePullBackOff", "initContainerStatuses")]) == "a/b:c"


def test_a_pod_that_only_starts_is_no_reason():
    assert missing_image([pod("ContainerCreating"), {"status": {}}, {}]) == ""
    assert missing_image([]) == ""
