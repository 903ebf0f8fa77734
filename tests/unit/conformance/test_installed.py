from __future__ import annotations

from typing import Any

import pytest

from conformance.adapters.installed import version_of


def deployment(image: str, label: str = "") -> dict[str, Any]:
    labels = {"app.kubernetes.io/version": label} if label else {}
    return {"metadata": {"labels": labels}, "spec": {"template": {"spec": {"containers": [{"image": image}]}}}}


@pytest.mark.parametrize(
    ("image", "label", "version"),
    [
        ("docker.io/istio/pilot:1.31.2-distroless", "1.0.0", "1.31.2-distroless"),  # a chart that nobody numbered
        ("cr.l5d.io/linkerd/controller:edge-26.8.1", "edge-26.8.1", "edge-26.8.1"),
        ("meshproof.local/meshproof:5fc8422238b7d052", "0.1.0", "0.1.0"),
        ("host:5000/pilot@sha256:0123", "1.29.0", "1.29.0"),
        ("host:5000/pilot:canary", "", "canary"),
    ],
)
def test_a_version_is_the_images_tag_where_that_is_one(image, label, version):
    assert version_of(deployment(image, label)) == version
