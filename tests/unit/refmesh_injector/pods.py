"""Pods for the injector's tests: one by hand, and a strategy for many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from refmesh.injector.patch import Config

CONFIG = Config(image="mesh:1", root_pem="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
CLASSIC = replace(CONFIG, native=False)
ENABLED = {"istio-injection": "enabled"}


def pod(**spec: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "metadata": {"generateName": "cart-", "labels": {"app": "cart"}},
        "spec": {"containers": [container], **spec},
    }


_names = st.text(alphabet="abcdefghijkl", min_size=1, max_size=5)
_port = st.one_of(st.integers(1, 65535), st.just("http"), st.just("nowhere"))
_probe = st.one_of(
    st.builds(lambda p, path: {"httpGet": {"port": p, "path": path}, "periodSeconds": 3}, _port, st.just("/ok")),
    st.builds(lambda p: {"tcpSocket": {"port": p}}, _port),
    st.builds(lambda p, s: {"grpc": {"port": p, "service": s}}, st.integers(1, 65535), _names),
    st.just({"exec": {"command": ["true"]}}),
)
_container = st.fixed_dictionaries(
    {"name": _names, "image": st.just("i")},
    optional={
        "ports": st.just([{"name": "http", "containerPort": 8080}]),
        "readinessProbe": _probe,
        "livenessProbe": _probe,
        "startupProbe": _probe,
        "resources": st.just({"limits": {"cpu": "1"}}),
        "lifecycle": st.fixed_dictionaries(
            {},
            optional={
                "postStart": st.builds(lambda p: {"httpGet": {"port": p, "path": "/begin"}}, _port),
                "preStop": st.builds(lambda p: {"httpGet": {"port": p}}, _port) | st.just({"sleep": {"seconds": 1}}),
            },
        ),
    },
)
_annotations = st.fixed_dictionaries(
    {},
    optional={
        "traffic.sidecar.istio.io/excludeInboundPorts": st.sampled_from(["", "80", "80, 443"]),
        "a/b~c": st.just("d"),
        "proxy.refmesh.io/concurrency": st.just("2"),
    },
)
PODS = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(_container, min_size=1, max_size=3)},
            optional={
                "initContainers": st.none() | st.lists(_container, max_size=2),
                "volumes": st.none() | st.just([]) | st.just([{"name": "v", "emptyDir": {}}]),
                "serviceAccountName": _names,
            },
        )
    },
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.none() | st.just({"app": "x"}), "annotations": st.none() | _annotations}
        )
    },
)
