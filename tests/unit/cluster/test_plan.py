from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.cluster.embedded import site as places
from fixtures.cluster.embedded.configuration import kubelet_configuration
from fixtures.cluster.embedded.network import Addresses
from fixtures.cluster.embedded.plan import node_plan, write_files
from fixtures.cluster.embedded.site import Layout, Site
from fixtures.cluster.parts import PARTS


@pytest.fixture
def site(tmp_path: Path) -> Site:
    programs = {
        name: Path(f"/cache/{part.name}/{name}") for part in PARTS.values() for name in part.packages
    }  # fmt: skip
    layout = Layout(tmp_path / "clusters" / "one")
    for directory in layout.directories():
        directory.mkdir(parents=True)
    return Site(
        name="one", layout=layout, addresses=Addresses(7), programs=programs, cni=Path("/cache/cni"),
        images=Path("/cache/images.tar"), cgroup="meshproof-one-abc", cgroup_system=[Path("/sys/fs/cgroup/x/system")],
    )  # fmt: skip


def programs_of(site: Site) -> dict[str, dict[str, Any]]:
    return {program["name"]: program for program in node_plan(site, None)["programs"]}


def test_the_plan_can_be_sent_as_one_line(site: Site) -> None:
    assert "\n" not in json.dumps(node_plan(site, 5))
    assert node_plan(site, 5)["owner_fd"] == 5


def test_every_program_waits_only_for_what_there_is_and_none_for_itself(site: Site) -> None:
    made = node_plan(site, None)
    known = set(made["gates"]) | {program["name"] for program in made["programs"] if program["once"]}
    for program in made["programs"]:
        assert set(program["after"]) <= known - {program["name"]}
        assert Path(program["argv"][0]).is_absolute()


def test_the_parts_agree_on_addresses(site: Site) -> None:
    programs = programs_of(site)
    assert "--advertise-address=10.213.7.2" in programs["kube-apiserver"]["argv"]
    assert "--node-ip=10.213.7.2" in programs["kubelet"]["argv"]
    assert "--addresses=10.213.7.128/25" in programs["balancer"]["argv"]
    assert kubelet_configuration(site)["clusterDNS"] == ["10.96.0.10"]
    ranges = [
        flag.split("=")[1]
        for name in ("kube-apiserver", "kube-controller-manager")
        for flag in programs[name]["argv"]
        if flag.startswith("--service-cluster-ip-range")
    ]
    assert len(ranges) == 2
    assert len(set(ranges)) == 1


def test_pods_and_services_need_no_module_of_the_host(site: Site) -> None:
    write_files(site)
    network = json.loads((site.layout.etc / "cni" / "10-meshproof.conflist").read_text())
    types = [network["plugins"][0]["ipam"]["type"], *(plugin["type"] for plugin in network["plugins"])]
    assert "bridge" not in types
    assert set(types) <= set(PARTS["cni"].packages)
    assert not any("bridge" in name for name in node_plan(site, None)["network"]["sysctls"])


def test_what_pods_say_outside_has_the_nodes_address_by_one_rule_for_all_of_them(site: Site) -> None:
    write_files(site)
    plugin = json.loads((site.layout.etc / "cni" / "10-meshproof.conflist").read_text())["plugins"][0]
    assert not plugin.get("ipMasq")
    ((pods,),) = plugin["ipam"]["ranges"]
    assert node_plan(site, None)["network"]["masquerade"] == pods["subnet"]


def test_the_node_looks_for_programs_where_the_preflight_does(site: Site) -> None:
    assert node_plan(site, None)["environment"]["PATH"].endswith(f":{places.ADMIN_PATH}")
    assert "/usr/local/sbin" in places.ADMIN_PATH.split(":")


def test_the_kubelet_finds_all_it_would_set_for_the_whole_machine(site: Site) -> None:
    assert sorted(node_plan(site, None)["kernel"]) == [
        "kernel.keys.root_maxbytes", "kernel.keys.root_maxkeys", "kernel.panic", "kernel.panic_on_oops",
        "vm.overcommit_memory", "vm.panic_on_oom",
    ]  # fmt: skip


def test_a_long_state_directory_makes_no_long_socket_path(site: Site) -> None:
    configuration = kubelet_configuration(site)
    assert configuration["containerRuntimeEndpoint"] == "unix:///run/containerd/containerd.sock"
    assert "--root-dir=/run/kubelet" in programs_of(site)["kubelet"]["argv"]


def test_the_files_are_what_the_programs_read(site: Site) -> None:
    write_files(site)
    etc, pki = site.layout.etc, site.layout.pki
    containerd = tomllib.loads((etc / "containerd.toml").read_text())
    runtime = containerd["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["disable_apparmor"] is True
    assert runtime["cni"] == {"bin_dirs": ["/cache/cni"], "conf_dir": str(etc / "cni")}
    assert containerd["plugins"]["io.containerd.internal.v1.opt"]["path"].startswith("/run/")
    assert containerd["plugins"]["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == places.PAUSE_IMAGE
    network = json.loads((etc / "cni" / "10-meshproof.conflist").read_text())
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}]]
    admin = yaml.safe_load(site.layout.kubeconfig.read_text())
    assert admin["current-context"] == "meshproof-one"
    assert site.layout.kubeconfig.stat().st_mode & 0o077 == 0
    for program in node_plan(site, None)["programs"]:
        for argument in program["argv"][1:]:
            path = Path(argument.partition("=")[2] or argument)
            if str(path).startswith(str(pki)) or str(path).startswith(str(etc)):
                assert path.exists(), argument


@pytest.mark.parametrize(("in_memory", "where"), [(True, places.SNAPSHOTS), (False, "containerd/snapshots")])
def test_images_are_unpacked_where_there_is_room(site: Site, in_memory: bool, where: str) -> None:
    from dataclasses import replace

    chosen = replace(site, in_memory=in_memory)
    write_files(chosen)
    text = (site.layout.etc / "containerd.toml").read_text()
    assert tomllib.loads(text)["plugins"]["io.containerd.snapshotter.v1.overlayfs"]["root_path"].endswith(where)
    assert node_plan(chosen, None)["memory"] == ([places.SNAPSHOTS] if in_memory else [])
