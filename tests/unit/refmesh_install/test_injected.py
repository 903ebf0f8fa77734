"""What is told of the proxies of injected pods by their specifications."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from refmesh.install.injected import cramped, outdated
from refmesh.install.offline import inject_object
from tests.unit.refmesh_injector.pods import CLASSIC, CONFIG, pod

HTTP, DNS = {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}


def injected(name: str, config: Any = CONFIG, **annotations: str) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": name, "annotations": annotations}
    return inject_object({"kind": "Pod", **pod(), "metadata": metadata}, config)


def services(number: int) -> list[dict[str, Any]]:
    return [{"spec": {"ports": [HTTP, DNS]}} for _ in range(number)] + [{"spec": {"externalName": "x"}}]


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
def test_pods_that_an_upgrade_has_not_reached_are_named(config: Any) -> None:
    old, new = injected("old", replace(config, image="mesh:0")), injected("new", config)
    assert outdated([], CONFIG.image) == outdated([new], CONFIG.image) == ""
    assert outdated([old, new], CONFIG.image) == (
        "1 of 2 proxies run another image than the control plane's, mesh:1; restart their workloads: shop/old"
    )
    assert outdated([old] * 6, CONFIG.image).endswith(f"{'shop/old, ' * 4}shop/old and others")


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
def test_a_proxy_whose_limit_would_not_do_is_named(config: Any) -> None:
    more = injected("b", config, **{"sidecar.istio.io/proxyMemoryLimit": "1Gi"})
    pods = [injected("a", config), more]
    assert cramped(pods, services(2500)) == ""
    found = cramped(pods, services(2600))
    assert found.startswith("2600 ports of Services take about 382 MB of each proxy, and 1 of 2 proxies are limited")
    assert found.endswith("proxyMemoryLimit: shop/a")
    assert "2 of 2 proxies" in cramped(pods, services(6000))
    unlimited = {"metadata": more["metadata"], "spec": {"containers": [{"name": "refmesh-proxy"}]}}
    assert cramped([unlimited], services(6000)) == ""
