from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.cluster.embedded import cgroups
from fixtures.cluster.embedded.cgroups import Hierarchy
from reports.errors import EnvironmentProblem

V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


def test_hierarchies_of_both_versions_are_found() -> None:
    found = {hierarchy.root.name: hierarchy.controllers for hierarchy in cgroups.cgroup_hierarchies(V1)}
    assert found == {
        "cpu,cpuacct": {"cpu", "cpuacct"}, "cpuset": {"cpuset"}, "systemd": {"name=systemd"}, "unified": set(),
    }  # fmt: skip


def test_a_group_of_version_1_takes_its_processors_from_its_parent(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-1")
    (tmp_path / "cpuset.mems").write_text("0")
    made = Hierarchy(tmp_path, ["cpuset"]).make("one/system")
    assert made == tmp_path / "one" / "system"
    assert (tmp_path / "one" / "cpuset.cpus").read_text() == "0-1"
    assert (made / "cpuset.mems").read_text() == "0"


def fake_v2(path: Path, controllers: str) -> None:
    path.mkdir(exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text("")


def test_a_group_of_version_2_has_its_controllers_passed_on(tmp_path: Path) -> None:
    fake_v2(tmp_path, "cpu memory pids")
    fake_v2(tmp_path / "one", "cpu memory pids")
    Hierarchy(tmp_path).make("one/system")
    # In one go: a part of them, taken before the next is refused, would leave the group threaded.
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (tmp_path / "one" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_no_controllers_are_passed_on_but_those_of_a_kubelet(tmp_path: Path) -> None:
    fake_v2(tmp_path, "memory misc rdma")
    Hierarchy(tmp_path).make("one")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_a_group_of_version_2_that_cannot_pass_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_v2(tmp_path, "cpu")
    real = Path.write_text

    def busy(path: Path, text: str, **options: str) -> int:
        if path.name == "cgroup.subtree_control":
            raise OSError(16, "Device or resource busy")
        return real(path, text, **options)

    monkeypatch.setattr(Path, "write_text", busy)
    with pytest.raises(EnvironmentProblem, match="cannot pass on cpu: Device"):
        Hierarchy(tmp_path).make("one")


def test_what_is_only_useful_is_tried_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_v2(tmp_path, "cpu cpuset hugetlb io memory pids rdma")
    written: list[str] = []
    real = Path.write_text

    def some(path: Path, text: str, **options: str) -> int:
        if path.name == "cgroup.subtree_control":
            written.append(text)
            if text == "+cpuset":
                raise OSError(16, "Device or resource busy")
        return real(path, text, **options)

    monkeypatch.setattr(Path, "write_text", some)
    Hierarchy(tmp_path).make("one")
    assert written == ["+cpu +memory +pids", "+cpuset", "+hugetlb", "+io"]


@pytest.mark.parametrize(
    ("kind", "controllers", "processes", "stuck"),
    [
        ("domain", "cpu memory pids", "1\n7\n", True),
        ("domain", "cpu memory pids", "", False),
        (None, "cpu memory pids", "1\n7\n", False),
        ("domain", "", "1\n7\n", False),
    ],
    ids=["container", "container with an own group for its processes", "machine", "hybrid in a container"],
)
def test_a_containers_group_with_processes_is_stuck(
    tmp_path: Path, kind: str | None, controllers: str, processes: str, stuck: bool
) -> None:
    fake_v2(tmp_path, controllers)
    (tmp_path / "cgroup.procs").write_text(processes)
    if kind is not None:
        (tmp_path / "cgroup.type").write_text(kind)
    assert Hierarchy(tmp_path).stuck() is stuck


@pytest.mark.parametrize(("file", "usual"), [("cpu.shares", 1024), ("cpu.weight", 100)])
def test_a_cluster_counts_as_many_processes_when_processors_are_short(tmp_path: Path, file: str, usual: int) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / file).write_text(str(usual))
    Hierarchy(tmp_path).weigh("one/system")
    assert int((tmp_path / "one" / file).read_text()) > 4 * usual
    assert not (tmp_path / "one" / "system").exists()


@pytest.mark.parametrize("beside", ["user.slice", "system.slice"])
@pytest.mark.parametrize(("file", "usual"), [("cpu.shares", 1024), ("cpu.weight", 100)])
def test_beside_the_groups_of_systemd_a_fifth_is_left_to_the_drivers(
    tmp_path: Path, file: str, usual: int, beside: str
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / file).write_text(str(usual))
    (tmp_path / beside).mkdir()
    Hierarchy(tmp_path).weigh("one/system")
    weight = int((tmp_path / "one" / file).read_text())
    assert weight / (weight + usual) == 0.8


def test_removing_groups_removes_them_leaves_first(tmp_path: Path) -> None:
    (tmp_path / "one" / "pods" / "a").mkdir(parents=True)
    cgroups.end_cgroups([Hierarchy(tmp_path)], "one")
    assert not (tmp_path / "one").exists()
    cgroups.end_cgroups([Hierarchy(tmp_path)], "one")
