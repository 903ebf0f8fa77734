"""The embedded cluster as a whole: what it offers, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from fixtures.cluster import Cluster
from fixtures.cluster.embedded import dns, record
from fixtures.cluster.embedded.network import Addresses
from fixtures.cluster.embedded.plan import KERNEL
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.kube import Kube, eventually
from reports.errors import UsageProblem

pytestmark = pytest.mark.cluster

ASK = """
import socket, sys
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(15)
asker.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 53))
print(asker.recv(2048).hex())
"""

CALL = """
import socket, sys
caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
caller.settimeout(15)
caller.connect((sys.argv[1], int(sys.argv[2])))
caller.send(caller.getsockname()[0].encode())
print(caller.recv(64).decode())
"""
"""Says its own address, as it sees it."""


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a cluster of the test's own, which is gone afterwards."""
    own = f"t-{uuid.uuid4().hex[:8]}"
    yield own
    if (record.clusters_dir() / own).exists():
        EmbeddedProvider().delete(own)


def leftovers(name: str, pids: set[int], number: int | None) -> list[str]:
    """Everything of the cluster that is still on the machine."""
    left = [f"process {pid}" for pid in pids if Path(f"/proc/{pid}").exists()]
    left += [f"state {path}" for path in record.clusters_dir().glob(f"*{name}*")]
    left += [f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    left += [f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"*/*{record.cgroup_name(name)}*")]
    left += [f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"*{record.cgroup_name(name)}*")]
    if number is not None and Path("/sys/class/net", Addresses(number).link).exists():
        left.append(f"link {Addresses(number).link}")
    return left


def processes(init: int) -> set[int]:
    """The host's numbers of all processes in the PID namespace whose first one is `init`."""
    inside = Path(f"/proc/{init}/ns/pid").readlink()
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "ns" / "pid").readlink() == inside:
                found.add(int(path.name))
        except OSError:
            continue
    return found


def process_of(name: str, program: str) -> int | None:
    """The host's number of a process in a container of the cluster."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "comm").read_text().strip() == program and record.cgroup_name(name) in (
                path / "cgroup"
            ).read_text():
                return int(path.name)
        except OSError:
            continue
    return None


def number_of(name: str) -> int | None:
    known = record.read(record.clusters_dir() / name)
    return None if known is None else known.number


def rules() -> list[str]:
    """The host's packet filter rules that could be a cluster's; Docker may change others while this test runs."""
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return [line for line in saved.splitlines() if any(word in line for word in ("KUBE", "CNI", "10.213.", "10.244."))]


def settings() -> dict[str, str]:
    """The kernel's settings that a kubelet is fond of."""
    return {name: Path("/proc/sys", name.replace(".", "/")).read_text() for name in KERNEL}


def answer(address: str, port: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> str | None:
    """What the cluster's DNS, asked over `address`, says about the Service `kubernetes`."""
    query = dns.question("kubernetes.default.svc.cluster.local")
    with socket.socket(socket.AF_INET, kind) as asker:
        asker.settimeout(1)
        asker.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            asker.send(query)
            return dns.address_in(query, asker.recv(2048))
        asker.sendall(len(query).to_bytes(2, "big") + query)
        return dns.address_in(query, asker.recv(2048)[2:])


def test_the_node_is_ready_and_dns_answers_inside(cluster: Cluster) -> None:
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    nodes = kube.list("v1", "Node")
    assert [node["metadata"]["name"] for node in nodes] == [cluster.name]
    assert any(c["type"] == "Ready" and c["status"] == "True" for c in nodes[0]["status"]["conditions"])
    init = EmbeddedProvider().node_process(cluster.name)
    arguments = [str(Addresses(0).dns_service), dns.question("example.org").hex()]
    asked = subprocess.run(
        ["nsenter", f"--target={init}", "--net", sys.executable, "-c", ASK, *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # A name outside the cluster: no such domain, at once.
    assert bytes.fromhex(asked.stdout.strip())[3] & 0xF == 3


def test_whoever_a_pod_calls_outside_hears_the_node_and_can_answer(cluster: Cluster) -> None:
    addresses = Addresses(number_of(cluster.name) or 0)
    pod = eventually(partial(process_of, cluster.name, "coredns"), timeout=60, what="CoreDNS")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.bind((str(addresses.host), 0))
        outside.settimeout(15)
        call = ["nsenter", f"--target={pod}", "--net", sys.executable, "-c", CALL, *map(str, outside.getsockname())]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as calling:
            said, caller = outside.recvfrom(64)
            outside.sendto(said, caller)
            heard, _ = calling.communicate(timeout=15)
    assert IPv4Address(said.decode()) in addresses.pods
    assert caller[0] == str(addresses.node)
    assert heard.strip() == said.decode()


def test_services_of_all_types_answer_the_host(cluster: Cluster) -> None:
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    addresses = Addresses(number_of(cluster.name) or 0)
    own = f"dns-{uuid.uuid4().hex[:6]}"
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": own, "namespace": "kube-system"},
        "spec": {
            "type": "LoadBalancer", "selector": {"k8s-app": "kube-dns"},
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53, "protocol": "TCP"}],
        },
    }  # fmt: skip
    kube.apply(service)
    try:

        def balanced() -> str:
            found = kube.get("v1", "Service", own, "kube-system") or {}
            return str(found["status"]["loadBalancer"]["ingress"][0]["ip"])

        address = eventually(balanced, timeout=60, what="an address for the Service")
        assert address in {str(host) for host in addresses.balanced.hosts()}
        ports = (kube.get("v1", "Service", own, "kube-system") or {})["spec"]["ports"]
        for where, port in ((address, 53), (str(addresses.node), ports[0]["nodePort"])):
            found = eventually(partial(answer, where, port), timeout=60, what=f"DNS at {where}")
            assert found == str(addresses.api_service)
        found = eventually(lambda: answer(address, 53, socket.SOCK_STREAM), timeout=60, what="DNS over TCP")
        assert found == str(addresses.api_service)
    finally:
        kube.delete("v1", "Service", own, "kube-system")


def test_logs_exec_and_forward_reach_pods(cluster: Cluster, tmp_path: Path) -> None:
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    [pod] = kube.list("v1", "Pod", "kube-system", selector="k8s-app=kube-dns")
    own = pod["metadata"]["name"]
    assert "CoreDNS" in kube.logs("kube-system", own)
    done = kube.exec("kube-system", own, ["/coredns", "-version"])
    assert done.code == 0
    assert "CoreDNS" in done.stdout
    with kube.forward("kube-system", own, 8181) as (host, port), socket.create_connection((host, port), 5) as asker:
        asker.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        assert b"200 OK" in asker.recv(4096)
    EmbeddedProvider().logs(cluster.name, tmp_path)
    assert "CoreDNS" in "".join(path.read_text() for path in (tmp_path / "pods").rglob("*.log"))
    assert (tmp_path / "kubelet.log").stat().st_size


def test_two_clusters_live_side_by_side_and_leave_nothing(cluster: Cluster, name: str) -> None:
    provider = EmbeddedProvider()
    before = settings()
    second = provider.create(name)
    assert settings() == before
    assert second.name in {each.name for each in provider.list()}
    assert number_of(name) != number_of(cluster.name)
    for each in (cluster, second):
        nodes = Kube.connect(each.kubeconfig, each.context).list("v1", "Node")
        assert [node["metadata"]["name"] for node in nodes] == [each.name]
    with pytest.raises(UsageProblem, match="already"):
        provider.create(name)
    pids, number = processes(EmbeddedProvider().node_process(name)), number_of(name)
    assert len(pids) > 8
    provider.delete(name)
    assert leftovers(name, pids, number) == []
    assert rules() == []
    with pytest.raises(UsageProblem, match="no embedded cluster"):
        provider.delete(name)


def test_an_archive_is_loaded(cluster: Cluster, tmp_path: Path) -> None:
    from fixtures.cluster.embedded.archive import write_archive
    from fixtures.cluster.parts import architecture
    from fixtures.cluster.programs import program

    reference = f"meshproof.local/loaded:{uuid.uuid4().hex[:8]}"
    write_archive(tmp_path / "image.tar", {reference: program("pause")}, architecture())
    EmbeddedProvider().load(cluster.name, tmp_path / "image.tar")
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    with kube.namespace(f"cluster-{uuid.uuid4().hex[:8]}") as space:
        kube.apply({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loaded", "namespace": space, "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "main", "image": reference}], "terminationGracePeriodSeconds": 0},
        })  # fmt: skip
        kube.wait_pods_ready(space, "a=b", count=1, timeout=30)
    with pytest.raises(UsageProblem, match="no image archive"):
        EmbeddedProvider().load(cluster.name, tmp_path / "nothing.tar")


CREATE = """
import sys
from fixtures.cluster.embedded.provider import EmbeddedProvider
import os
owner = os.getpid() if sys.argv[2] == "owned" else None
EmbeddedProvider().create(sys.argv[1], ephemeral_owner=owner)
print("created", flush=True)
sys.stdin.read()
"""


def creator(name: str, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CREATE, name, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("stage", ["namespaces", "programs"])
def test_a_creator_killed_half_way_leaves_nothing_to_the_next_call(name: str, stage: str) -> None:
    process = creator(name, "free")
    directory = record.clusters_dir() / name

    def reached() -> bool:
        known = record.read(directory)
        assert known is not None
        assert known.init is not None
        return stage == "namespaces" or (directory / "logs" / "kube-apiserver.log").exists()

    assert eventually(reached, timeout=20, interval=0.005, what="the first process of the cluster")
    known = record.read(directory)
    assert known is not None
    assert known.init is not None
    killed(process)
    pids = {known.init.pid} if stage == "namespaces" else processes(known.init.pid)
    EmbeddedProvider().list()
    eventually(lambda: _none(leftovers(name, pids, known.number)), timeout=60, what="nothing left")
    assert rules() == []


def test_a_cluster_ends_with_its_owner_and_is_swept(name: str) -> None:
    process = creator(name, "owned")
    assert process.stdout is not None
    assert process.stdout.readline() == "created\n"
    pids, number = processes(EmbeddedProvider().node_process(name)), number_of(name)
    killed(process)
    # The owner's end alone ends every process; the next call, whichever it is, removes the rest.
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids) or _fail(), timeout=60, what="its end")
    assert name not in {cluster.name for cluster in EmbeddedProvider().list()}
    eventually(lambda: _none(leftovers(name, pids, number)), timeout=60, what="nothing left")


def test_a_cluster_without_an_owner_outlives_its_creator(name: str) -> None:
    process = creator(name, "free")
    assert process.stdout is not None
    assert process.stdout.readline() == "created\n"
    killed(process)
    assert name in {cluster.name for cluster in EmbeddedProvider().list()}


def _none(left: list[str]) -> bool:
    assert left == []
    return True


def _fail() -> bool:
    raise AssertionError("processes are still there")
