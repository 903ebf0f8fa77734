from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.cluster import HOST_PACKAGES
from fixtures.cluster.embedded import cgroups, preflight
from fixtures.cluster.embedded.cgroups import Hierarchy
from reports.errors import EnvironmentProblem


def root() -> int:
    return 0


def test_another_system_is_named_with_the_alternative() -> None:
    with pytest.raises(EnvironmentProblem, match="needs Linux, and this is darwin") as caught:
        preflight.check(platform="darwin", user=root)
    assert "kind" not in caught.value.fix
    assert "--kubeconfig" in caught.value.fix


def test_a_machine_without_modprobe_has_what_is_loaded_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool, **_: None if tool == "modprobe" else f"/usr/bin/{tool}")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "nodev\tproc\n")
    with pytest.raises(EnvironmentProblem, match="overlayfs"):
        preflight.check(platform="linux", user=root)


def test_who_is_not_root_is_told() -> None:
    with pytest.raises(EnvironmentProblem, match="needs root"):
        preflight.check(platform="linux", user=lambda: 1000)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of a user whose environment has nothing that sudo takes away."""
    for name in preflight._CARRIED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_what_sudo_would_take_away_is_carried(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "10.213.0.0/16")  # as we set it ourselves
    assert preflight._sudo() == "sudo"
    (home / ".cache" / "meshproof").mkdir(parents=True)
    assert preflight._sudo() == "sudo"
    (home / ".cache" / "meshproof" / "programs").mkdir()
    assert preflight._sudo() == f"sudo XDG_CACHE_HOME={home}/.cache"
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    assert preflight._sudo() == "sudo --preserve-env=https_proxy,XDG_CACHE_HOME,NO_PROXY"
    with pytest.raises(EnvironmentProblem) as caught:
        preflight.check(platform="linux", user=lambda: 1000)
    assert "with `sudo --preserve-env=https_proxy," in caught.value.fix


def test_a_program_where_the_node_does_not_look_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place, found in ((tmp_path / "user", False), (tmp_path / "node", True)):
        place.mkdir()
        for tool in HOST_PACKAGES:
            (place / tool).touch(mode=0o755)
        monkeypatch.setenv("PATH", str(place))
        monkeypatch.setattr(preflight, "ADMIN_PATH", str(tmp_path / "node"))
        assert (preflight.missing_packages() == []) is found


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("place", ["/run/user/0", "/var/run", "/var/log/x"])
def test_a_place_that_the_node_hides_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, place: str) -> None:
    monkeypatch.setenv(variable, place)
    with pytest.raises(EnvironmentProblem, match=r"/meshproof is below (/run|/var/log), of which") as caught:
        preflight.check(platform="linux", user=root)
    assert variable in caught.value.fix


def test_a_machine_without_conntrack_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """kube-proxy and the CNI plugins speak to the kernel themselves."""
    monkeypatch.setattr("shutil.which", lambda tool, **_: None if tool == "conntrack" else f"/usr/bin/{tool}")
    assert preflight.missing_packages() == []


def test_missing_programs_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool, **_: None if tool in {"runc", "ip"} else f"/usr/bin/{tool}")
    with pytest.raises(EnvironmentProblem, match="iproute2, runc") as caught:
        preflight.check(platform="linux", user=root)
    assert caught.value.fix.startswith("apt-get install iproute2 runc")


@pytest.mark.parametrize(
    ("broken", "feature"),
    [("veth", "veth links"), ("REDIRECT", "REDIRECT"), ("statistic", "statistic")],
)
def test_a_missing_kernel_feature_is_named(monkeypatch: pytest.MonkeyPatch, broken: str, feature: str) -> None:
    def inside(word: str) -> Callable[[str], str | None]:
        return lambda command: "operation not supported" if word in command else None

    monkeypatch.setattr(preflight, "missing_packages", list)
    monkeypatch.setattr(preflight, "_inside", inside(broken))
    with pytest.raises(EnvironmentProblem, match=feature) as caught:
        preflight.check(platform="linux", user=root)
    assert "operation not supported" in caught.value.problem


@pytest.mark.parametrize(
    ("profiles", "said"),
    [
        ("lsb_release (enforce)\nunshare (enforce)\n", "AppArmor's profile `unshare`"),
        ("unshare (unconfined)\nnot-unshare (enforce)\n", "the kernel does not offer veth links"),
        (None, "the kernel does not offer veth links"),
    ],
)
def test_a_profile_that_takes_the_rights_of_unshare_away_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profiles: str | None, said: str
) -> None:
    monkeypatch.setattr(preflight, "missing_packages", list)
    monkeypatch.setattr(preflight, "_inside", lambda command: None if command == "true" else "not permitted")
    monkeypatch.setattr(preflight, "_PROFILES", tmp_path / "profiles")
    if profiles is not None:
        (tmp_path / "profiles").write_text(profiles)
    with pytest.raises(EnvironmentProblem, match=said) as caught:
        preflight.check(platform="linux", user=root)
    assert "not permitted" in caught.value.problem
    assert ("apparmor_parser -R" in caught.value.fix) is said.startswith("AppArmor")


def v2(root: Path, controllers: str, processes: str = "") -> Hierarchy:
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.procs").write_text(processes)
    (root / "cgroup.type").write_text("domain")
    return Hierarchy(root)


def test_a_missing_controller_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(preflight, "missing_packages", list)
    monkeypatch.setattr(cgroups, "mounted", lambda: [v2(tmp_path, "cpuset cpu io pids")])
    with pytest.raises(EnvironmentProblem, match="have no controller memory") as caught:
        preflight.check(platform="linux", user=root)
    assert "cgroup_enable=memory" in caught.value.fix
    assert "kind" not in caught.value.fix
    # what one hierarchy lacks, another may have
    preflight._check_control_groups([v2(tmp_path, ""), *(Hierarchy(tmp_path, [name]) for name in cgroups.NEEDED)])


def test_processes_in_a_containers_own_group_are_refused_with_the_recipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "missing_packages", list)
    monkeypatch.setattr(cgroups, "mounted", lambda: [v2(tmp_path, "cpu memory pids", "1\n")])
    with pytest.raises(EnvironmentProblem, match="processes of this container") as caught:
        preflight.check(platform="linux", user=root)
    assert caught.value.fix.startswith(f"mkdir -p {tmp_path}/init && xargs")


def test_a_missing_overlay_file_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "missing_packages", list)
    monkeypatch.setattr(preflight, "_has_overlay", lambda: False)
    with pytest.raises(EnvironmentProblem, match="overlay file system"):
        preflight.check(platform="linux", user=root)
