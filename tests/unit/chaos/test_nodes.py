"""Where the pods of experiments and measurements may run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from chaos.janitor_objects import janitor_objects
from chaos.objects import inside, outside
from load.manifests import driver_pod
from load.meshing import Meshing


def _specs(item: Any) -> Iterator[dict[str, Any]]:
    """Whatever has containers in an object."""
    if isinstance(item, dict):
        if "containers" in item:
            yield item
        for one in item.values():
            yield from _specs(one)


def test_pods_are_for_nodes_that_can_run_the_image() -> None:
    objects = [
        *inside("in", "i", Meshing("none")),
        *outside("out", "i", "http://echo", "id"),
        *janitor_objects("i"),
        driver_pod("driver", "ns", image="i"),
    ]
    specs = [spec for one in objects for spec in _specs(json.loads(json.dumps(one)))]
    assert len(specs) >= 6
    assert all(one["nodeSelector"] == {"kubernetes.io/os": "linux"} for one in specs)
