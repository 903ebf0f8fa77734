"""The image that is built here, in a pod of a real cluster: what pods import and call is inside and works."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.cluster import Cluster
from fixtures.images import build_archive
from fixtures.images.layout import ENVIRONMENT, PROXY_UID, USER_UID
from fixtures.kube import Kube

pytestmark = pytest.mark.cluster

SPACE = "images-it"
POD = "tools"


@pytest.fixture(scope="module")
def kube(cluster: Cluster) -> Iterator[Kube]:
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    yield kube
    kube.close()


@pytest.fixture(scope="module")
def pod(kube: Kube, image: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A pod with a container for each user there is: root, the sidecar's, and everybody else's."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "alone")
    with kube.namespace(f"{SPACE}-{worker}", wait=True) as name:
        kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": POD, "namespace": name},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": f"user-{uid}",
                            "image": image,
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["sleep", "600"],
                            "securityContext": {"runAsUser": uid, "readOnlyRootFilesystem": uid != 0},
                        }
                        for uid in (0, PROXY_UID, USER_UID)
                    ],
                },
            }
        )
        kube.wait_pods_ready(name, count=1)
        yield name, POD


def run(kube: Kube, pod: tuple[str, str], *command: str, uid: int = USER_UID) -> str:
    done = kube.exec(*pod, command, container=f"user-{uid}")
    assert done.code == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "refmesh.server",
        "refmesh.agent",
        "refmesh.agent.__main__",
        "refmesh.agent.capture",
        "refmesh.agent.enrol",
        "refmesh.agent.hooks",
        "fixtures.workloads.pod.echo",
        "fixtures.workloads.pod.client",
        "fixtures.workloads.pod.sniffer",
        "load.driver",
        "chaos.janitor",
        "chaos.prober",
    ],
)
def test_programs_of_pods_find_all_they_import(kube: Kube, pod: tuple[str, str], module: str) -> None:
    said = run(kube, pod, "python", "-c", f"import {module} as found; print(found.__cached__)")
    assert "/__pycache__/" in said


def test_byte_code_is_there_and_is_used(kube: Kube, pod: tuple[str, str]) -> None:
    check = (
        "import pathlib, sys, importlib.util as util, load.driver, refmesh.server, chaos.janitor\n"
        "named = [getattr(one, '__file__', None) or '' for one in list(sys.modules.values())]\n"
        "files = [one for one in named if one.endswith('.py')]\n"
        "assert len(files) > 100, files\n"
        "bare = [one for one in files if not pathlib.Path(util.cache_from_source(one)).is_file()]\n"
        "assert not bare, bare\n"
        "print(len(files))"
    )
    assert int(run(kube, pod, "python", "-W", "ignore", "-c", check).split()[0]) > 100


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("envoy", "--version"), "envoy  version"),
        (("toxiproxy-server", "--version"), "toxiproxy-server version 2."),
        (("iptables-restore", "--version"), "iptables-restore v1."),
        (("ip6tables-restore", "--version"), "ip6tables-restore v1."),
        (("ip", "-V"), "iproute2"),
        (("ss", "-V"), "iproute2"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("uid", [0, PROXY_UID])
def test_programs_run(kube: Kube, pod: tuple[str, str], command: tuple[str, ...], says: str, uid: int) -> None:
    assert says in run(kube, pod, *command, uid=uid)


@pytest.mark.parametrize("uid", [0, PROXY_UID, USER_UID])
def test_every_user_has_a_name_and_the_environment(kube: Kube, pod: tuple[str, str], uid: int) -> None:
    said = run(
        kube, pod, "python", "-c", "import os, pwd; print(pwd.getpwuid(os.getuid())); print(dict(os.environ))", uid=uid
    )
    assert f"pw_uid={uid}" in said
    for name, value in ENVIRONMENT.items():
        assert f"{name!r}: {value!r}" in said


def test_what_makes_clusters_and_images_is_not_inside(kube: Kube, pod: tuple[str, str]) -> None:
    absent = ("conformance", "meshproof_cli", "kubernetes", "fixtures.cluster", "fixtures.images")
    check = f"from importlib.util import find_spec; print([one for one in {absent} if find_spec(one)])"
    assert run(kube, pod, "python", "-c", check).strip() == "[]"


def test_the_archive_is_below_350_megabytes_and_found_built_the_second_time() -> None:
    first = build_archive()
    assert first.path.stat().st_size < 350_000_000
    built = first.path.stat()
    again = build_archive()
    if again.reference == first.reference:  # unless a source was edited meanwhile
        assert again.path.stat().st_ino == built.st_ino
