from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.injector.patch import BadPod, Skip, patch
from refmesh.injector.user_volumes import user_volumes
from tests.unit.refmesh_injector.pods import CONFIG, ENABLED, pod

VOLUME, MOUNT = "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount"
SECRET = {"secret": {"secretName": "client-ca"}}


def annotated(volume: Any, mount: Any) -> dict[str, str]:
    return {VOLUME: json.dumps(volume), MOUNT: json.dumps(mount)}


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        ({"ca": SECRET}, {"ca": {"mountPath": "/etc/certs"}}),
        ([{"name": "ca", **SECRET}], [{"name": "ca", "mountPath": "/etc/certs/", "readonly": True}]),
    ],
)
def test_the_sidecar_and_nobody_else_gets_what_the_annotations_name(volume: Any, mount: Any) -> None:
    original = pod()
    original["metadata"]["annotations"] = annotated(volume, mount)
    operations = patch(original, ENABLED, CONFIG)
    assert not isinstance(operations, Skip)
    by_path = {item["path"]: item["value"] for item in operations}
    assert by_path["/spec/volumes"][-1] == {"name": "ca", **SECRET}
    init, proxy = by_path["/spec/initContainers"]
    assert proxy["volumeMounts"][-1] == {"name": "ca", "mountPath": "/etc/certs", "readOnly": True}
    assert len(init["volumeMounts"]) == 1


def test_a_volume_that_the_pod_has_anyway_can_be_mounted_too() -> None:
    volumes, mounts = user_volumes({MOUNT: '{"own": {"mountPath": "/certs", "subPath": "a"}}'}, {"own"})
    assert volumes == []
    assert mounts == [{"name": "own", "mountPath": "/certs", "readOnly": True, "subPath": "a"}]


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ({VOLUME: "ca: x"}, f"annotation {VOLUME}: is not JSON"),
        ({VOLUME: '"ca"'}, f"annotation {VOLUME}: must be a JSON object"),
        ({VOLUME: '{"CA": {}}'}, f"annotation {VOLUME}: 'CA' must be the name"),
        ({VOLUME: '[{"secret": {}}]'}, f"annotation {VOLUME}: None must be the name"),
        ({VOLUME: '{"ca": {"hostPath": {"path": "/"}}}'}, f"annotation {VOLUME}: ca must have exactly one of secret"),
        ({VOLUME: '{"taken": {"secret": {}}}'}, f"annotation {VOLUME}: taken is the name of another volume"),
        ({VOLUME: '{"refmesh-run": {"secret": {}}}'}, f"annotation {VOLUME}: refmesh-run is the name of another"),
        ({VOLUME: json.dumps([{"name": "a", **SECRET}] * 2)}, f"annotation {VOLUME}: a is there twice"),
        ({MOUNT: '{"ca": {"mountPath": "/c"}}'}, f"annotation {MOUNT}: ca is no volume"),
        ({MOUNT: '{"taken": {}}'}, f"annotation {MOUNT}: taken: mountPath must be an absolute path"),
        ({MOUNT: '{"taken": {"mountPath": "/a/../b"}}'}, f"annotation {MOUNT}: taken: mountPath must be an absolute"),
        ({MOUNT: '{"taken": {"mountPath": "/"}}'}, f"annotation {MOUNT}: taken: mountPath"),
        ({MOUNT: '{"taken": {"mountPath": "/var/run"}}'}, f"annotation {MOUNT}: taken: mountPath /var/run would hide"),
        ({MOUNT: '{"taken": {"mountPath": "/etc"}}'}, f"annotation {MOUNT}: taken: mountPath /etc would hide"),
        ({MOUNT: '{"taken": {"mountPath": "/c", "readOnly": false}}'}, f"annotation {MOUNT}: taken: readOnly must"),
        ({MOUNT: '{"taken": {"mountPath": "/c", "subPath": "../x"}}'}, f"annotation {MOUNT}: taken: subPath"),
        ({MOUNT: '{"taken": {"mountPath": "/c", "shared": 1}}'}, f"annotation {MOUNT}: taken: shared is not supported"),
        ({VOLUME: json.dumps({f"v{index}": SECRET for index in range(101)})}, f"annotation {VOLUME}: has 101 entries"),
        ({MOUNT: json.dumps([{"name": "taken"}] * 101)}, f"annotation {MOUNT}: has 101 entries; at most 100 are taken"),
        ({MOUNT: json.dumps([{"name": "taken", "mountPath": "/c"}] * 2)}, f"annotation {MOUNT}: /c is used twice"),
    ],
)
def test_a_mistake_names_annotation_and_volume(annotations: dict[str, str], problem: str) -> None:
    original = pod(volumes=[{"name": "taken", "emptyDir": {}}])
    original["metadata"]["annotations"] = annotations
    with pytest.raises(BadPod) as caught:
        patch(original, ENABLED, CONFIG)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    "path",
    [
        *("//", "//proc", "//var/run/refmesh", "/c//d", "/c//", "/./c"),
        *("/usr", "/usr/share/certs", "/usr/local/lib/python3.11/site-packages", "/bin", "/lib/x", "/lib64"),
        *("/run", "/run/refmesh", "/run/secrets/tokens/", "/var", "/proc/self", "/etc/ld.so.preload", "/etc/hosts"),
    ],
)
def test_what_the_proxy_runs_from_cannot_be_hidden_by_another_way_to_write_it(path: str) -> None:
    with pytest.raises(ValueError, match=r"own: mountPath (must be an absolute path|\S+ would hide)"):
        user_volumes({MOUNT: json.dumps({"own": {"mountPath": path}})}, {"own"})


@pytest.mark.parametrize("path", ["/etc/certs", "/etc/ssl/private", "/usrlocal", "/var/run/secrets/mesh", "/run/c"])
def test_other_places_are_the_users(path: str) -> None:
    _, (mount,) = user_volumes({MOUNT: json.dumps({"own": {"mountPath": path}})}, {"own"})
    assert mount["mountPath"] == path


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "ca", "mountPath", "secret", "subPath"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(_json, _json)
def test_any_json_is_taken_or_refused(volume: Any, mount: Any) -> None:
    with contextlib.suppress(ValueError):
        user_volumes(annotated(volume, mount), {"ca"})
