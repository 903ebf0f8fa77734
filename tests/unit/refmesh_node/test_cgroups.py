from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.node.cgroups import pod_of

UID = "7cd99c1e-a7e4-4227-b8a4-23491c5f23e0"
OTHER = "11111111-2222-3333-4444-555555555555"
CONTAINER = "73b30dc755ca6c7fa2a4866ac61d3ead7014f76e7ab4fe9627e014ea9246eb76"


def systemd(uid: str) -> str:
    return f"kubepods-burstable-pod{uid.replace('-', '_')}.slice"


PATHS = [
    f"/kubepods/burstable/pod{UID}/{CONTAINER}",
    f"/kubepods/pod{UID}/{CONTAINER}",  # guaranteed
    f"/meshproof-node1-d23d82/kubepods/besteffort/pod{UID}/{CONTAINER}",
    f"/kubepods.slice/kubepods-burstable.slice/{systemd(UID)}/cri-containerd-{CONTAINER}.scope",
    f"/kubepods.slice/kubepods-burstable.slice/{systemd(UID)}/crio-{CONTAINER}.scope/container",
    f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID.replace('-', '_')}.slice/x.scope",
    # as seen from a private cgroup namespace
    f"/../../../kubepods-besteffort.slice/{systemd(UID)}/cri-containerd-{CONTAINER}.scope",
    f"/../../pod{UID}/{CONTAINER}",
]


@pytest.mark.parametrize("path", PATHS)
def test_the_pod_is_told_by_either_driver_from_any_root(path):
    assert pod_of(f"0::{path}\n", "0::/\n") == UID


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/system.slice/kubelet.service",
        "/kubepods/burstable",
        "/user.slice/podman-1234.scope",
        f"/kubepods/burstable/pod{UID[:-1]}/x",
        f"/kubepods/burstable/xpod{UID}/x",
        f"/kubepods/burstable/pod{UID}0/x",
    ],
)
def test_what_is_no_pod_is_none(path):
    assert pod_of(f"0::{path}\n", "0::/\n") is None


@pytest.mark.parametrize("path", PATHS)
def test_a_group_that_a_container_made_below_its_own_is_still_its_pods(path):
    assert pod_of(f"0::{path}/kubepods/pod{OTHER}/x\n", "0::/\n") == UID
    assert pod_of(f"0::{path}/{systemd(OTHER)}\n", "0::/\n") == UID


def test_a_node_that_is_a_pod_itself_does_not_count():
    outer = f"/kubepods/burstable/pod{OTHER}/{CONTAINER}/docker/kind"
    own = f"4:memory:{outer}/kubelet/kubepods/besteffort/podaaaaaaaa-2222-3333-4444-555555555555/me\n"
    assert pod_of(f"4:memory:{outer}/kubelet/kubepods/burstable/pod{UID}/x\n", own) == UID
    assert pod_of(f"4:memory:{outer}/kubelet\n", own) is None


def test_all_controllers_must_agree():
    v1 = f"9:name=systemd:/kubepods/pod{UID}/x\n8:pids:/kubepods/pod{UID}/x\n4:memory:/kubepods/pod{UID}/x\n0::/\n"
    assert pod_of(v1, "0::/\n") == UID
    assert pod_of(v1 + f"3:cpu:/kubepods/pod{OTHER}/x\n", "0::/\n") is None


@given(st.text(), st.text())
def test_any_text_is_read(text, own):
    found = pod_of(text, own)
    assert found is None or found in text.replace("_", "-")


_LINE = st.builds(
    lambda number, controllers, parts: f"{number}:{controllers}:/{'/'.join(parts)}",
    st.integers(0, 20),
    st.sampled_from(["", "memory", "cpu,cpuacct", "name=systemd"]),
    st.lists(
        st.sampled_from(["..", "kubepods", "kubepods.slice", "burstable", "x:y", f"pod{OTHER}", systemd(UID)])
        | st.from_regex(re.compile("[a-z0-9_.-]{1,12}"), fullmatch=True),
        max_size=6,
    ),
)


@given(st.lists(_LINE, max_size=4))
def test_a_pod_is_named_only_where_the_outermost_group_of_every_line_is_its_own(lines):
    names = {f"pod{OTHER}": OTHER, systemd(UID): UID}
    first = [next((names[part] for part in line.split("/")[1:] if part in names), None) for line in lines]
    known = {uid for uid in first if uid}
    assert pod_of("\n".join(lines), "") == (known.pop() if len(known) == 1 else None)
