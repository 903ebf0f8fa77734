"""LC-06: its judge on histories made by hand, whose objects it counts, and the command that it runs."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from conformance import opening
from conformance.adapters import Rendered
from conformance.checks import uninstalling
from conformance.checks.injection import Behaviour
from conformance.checks.uninstalling import account_of, bindings, webhooks
from conformance.checks.uninstalling_judges import Uninstalled, judge_uninstalled
from conformance.farewell import Ended, Farewell
from conformance.histories import decode, encode
from conformance.settings import RunSettings
from meshproof_cli.plan import Options
from meshproof_cli.settings import setting_flags
from reports.model import Verdict

BEFORE = Behaviour("in/server-1", ("proxy",), "10.0.0.9", ("10.0.0.5",) * 5, tls_answered=True)
AFTER = Behaviour("in/server-2", (), "10.0.0.9", ("10.0.0.9",) * 5, tls_answered=False)
GONE = Uninstalled(BEFORE, ("MutatingWebhookConfiguration m",), ("mesh/label",), Ended(0, "gone"), (), AFTER, ())


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"before": AFTER}, Verdict.FAIL),  # there was no mesh
        ({"before": replace(BEFORE, peers=())}, Verdict.INCONCLUSIVE),
        ({"ended": Ended(1, "no")}, Verdict.FAIL),
        ({"ended": Ended(127, "no such file", started=False)}, Verdict.INCONCLUSIVE),
        ({"left": ("ClusterRoleBinding m",)}, Verdict.FAIL),
        ({"after": None}, Verdict.FAIL),
        ({"after": None, "waits": "not scheduled: 0/1 nodes are available"}, Verdict.INCONCLUSIVE),
        ({"after": replace(AFTER, added=("proxy",))}, Verdict.FAIL),
        ({"after": replace(AFTER, tls_answered=True)}, Verdict.FAIL),
        ({"after": replace(AFTER, peers=("127.0.0.6",))}, Verdict.FAIL),
        ({"after": replace(AFTER, peers=())}, Verdict.FAIL),
        ({"marks_after": ("mesh/label",)}, Verdict.FAIL),
    ],
)
def test_what_is_left_of_a_mesh(change: dict[str, object], verdict: Verdict):
    history = replace(GONE, **change)  # type: ignore[arg-type]
    assert judge_uninstalled(history).verdict is verdict
    assert decode(encode(history)) == history


def test_the_command_finds_the_kubeconfig_of_the_run(tmp_path: Path):
    script = tmp_path / "uninstall.py"
    script.write_text("import os, sys; print(os.environ['KUBECONFIG'], *sys.argv[1:]); sys.exit(3)")
    ended = Farewell(f"{sys.executable} {script} --purge 'a b'", tmp_path / "config").say()
    assert ended == Ended(3, f"{tmp_path / 'config'} --purge a b")


SHOW = (
    "import os, shutil, stat; path = os.environ['KUBECONFIG']; shutil.copy(path, 'seen');"
    "print(path, oct(stat.S_IMODE(os.stat(path).st_mode)))"
)
PROD = {"name": "prod", "context": {"cluster": "prod", "user": "prod"}}
STAGING = {"name": "staging", "context": {"cluster": "staging", "user": "both"}}


def test_the_command_reaches_the_cluster_that_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "kube"
    folder.mkdir()
    exec_user = {"exec": {"command": "bin/token"}, "client-key": "/etc/key", "tokenFile": "token"}
    clusters = [{"name": "staging", "cluster": {"server": "https://s", "certificate-authority": "ca.crt"}}]
    one = {"current-context": "prod", "contexts": [PROD, STAGING], "clusters": clusters}
    other = {"contexts": [{"name": "staging", "context": {}}], "users": [{"name": "both", "user": exec_user}]}
    for name, content in (("one", one), ("other", other)):
        (folder / name).write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "kube/one:kube/other")
    ended = Farewell(shlex.join([sys.executable, "-c", SHOW]), context="staging").say()
    assert ended.code == 0, ended.said
    path, mode = ended.said.split()
    assert (Path(path).exists(), mode) == (False, "0o600")
    seen = yaml.safe_load(Path("seen").read_text())
    assert (seen["current-context"], seen["contexts"]) == ("staging", [PROD, STAGING])
    assert seen["clusters"][0]["cluster"] == {"server": "https://s", "certificate-authority": str(folder / "ca.crt")}
    command = {"command": str(folder / "bin" / "token")}
    assert seen["users"][0]["user"] == {
        "exec": command, "client-key": "/etc/key", "tokenFile": str(folder / "token"),
    }  # fmt: skip
    Farewell(shlex.join([sys.executable, "-c", SHOW]), Path("kube/one"), "prod").say()
    assert yaml.safe_load(Path("seen").read_text())["users"] == []


def test_the_command_is_told_the_context_that_the_flags_name(pytestconfig: pytest.Config):
    flags = {"mesh_kubeconfig": Path("/config"), "mesh_context": "staging"}
    config: Any = SimpleNamespace(getoption=flags.get, invocation_params=pytestconfig.invocation_params)
    farewell = opening._farewell(config, RunSettings(uninstall="bye"))
    assert (farewell.kubeconfig, farewell.context) == (Path("/config"), "staging")


@pytest.mark.parametrize("command", ["/no/such/program -y", "refmesh 'uninstall"])
def test_a_command_that_cannot_be_run_says_so(command: str):
    ended = Farewell(command).say()
    assert ended.code
    assert ended.said
    assert not ended.started


def test_a_command_is_run_where_the_user_is(tmp_path: Path, pytestconfig: pytest.Config):
    script = tmp_path / "uninstall.sh"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o700)
    config: Any = SimpleNamespace(getoption=lambda _: None, invocation_params=SimpleNamespace(dir=tmp_path.parent))
    settings = RunSettings.model_validate({"uninstall": "./uninstall.sh", "uninstall-in": tmp_path.name})
    assert opening._farewell(config, settings).say() == Ended(0, str(tmp_path))
    beside = opening._farewell(config, RunSettings(uninstall="./uninstall.sh"))
    assert beside.directory == tmp_path.parent
    assert not beside.say().started


def test_a_program_of_ours_is_found_behind_all_of_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, names in ((ours, ("both", "mesh")), (theirs, ("both",))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\necho {folder.name}\n")
            (folder / name).chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.setenv("PATH", f"{theirs}:/usr/bin:/bin")
    assert Farewell("mesh uninstall -y").say() == Ended(0, "ours")
    assert Farewell("both").say() == Ended(0, "theirs")


def test_the_suite_is_told_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    told = setting_flags(Options(assignments=("uninstall=./bye.sh", "uninstall-in=sub")))
    assert told[-1] == f"uninstall-in={tmp_path / 'sub'}"
    assert "uninstall-in" not in str(setting_flags(Options()))


class Objects:
    """A cluster with a control plane `mesh-system/mesh`, and these objects by kind."""

    def __init__(self, account: str | None, **by_kind: list[dict[str, Any]]) -> None:
        self.account, self.by_kind = account, by_kind

    def get(self, _: str, __: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        spec = {"serviceAccountName": self.account} if self.account else {}
        found = {"spec": {"template": {"spec": spec}}}
        return found if (namespace, name) == ("mesh-system", "mesh") else None

    def list(self, _: str, kind: str, __: str = "") -> list[dict[str, Any]]:
        return self.by_kind.get(kind, [])


def context(account: str | None = None, **by_kind: list[dict[str, Any]]) -> Any:
    return SimpleNamespace(kube=Objects(account, **by_kind), space=lambda place: place)


def binding(name: str, *subjects: tuple[str, str, str]) -> dict[str, Any]:
    of = [{"kind": kind, "namespace": namespace, "name": account} for kind, namespace, account in subjects]
    return {"metadata": {"name": name}, "subjects": of}


def test_only_rights_of_the_control_planes_own_account_are_the_meshs():
    neighbours = [
        binding("kiali", ("ServiceAccount", "mesh-system", "kiali")),
        binding("namesake", ("ServiceAccount", "other", "mesh")),
        binding("user", ("User", "mesh-system", "mesh")),
        {"metadata": {"name": "nobody"}},
    ]
    own = binding("mesh", ("ServiceAccount", "other", "x"), ("ServiceAccount", "mesh-system", "mesh"))
    ctx = context("mesh", ClusterRoleBinding=[*neighbours, own])
    account = account_of(ctx, ("mesh-system", "mesh"))
    assert bindings(ctx, account) == ("ClusterRoleBinding mesh",)
    assert bindings(context(ClusterRoleBinding=neighbours), account) == ()


def test_a_control_plane_without_an_account_of_its_own_has_the_namespaces():
    assert account_of(context(), ("mesh-system", "mesh")) == ("mesh-system", "default")
    assert account_of(context(), ("mesh-system", "none")) is None
    assert bindings(context(ClusterRoleBinding=[binding("b", ("ServiceAccount", "", ""))]), None) == ()
    assert account_of(context(), None) is None


@pytest.mark.parametrize(
    ("config", "whose"),
    [
        ({"service": {"namespace": "mesh-system", "name": "mesh"}}, True),
        ({"service": {"namespace": "other", "name": "mesh"}}, False),
        ({"url": "https://mesh.mesh-system.svc:15017/inject"}, True),
        ({"url": "https://mesh.mesh-system.svc.cluster.local/inject"}, True),
        ({"url": "https://mesh.other.svc/inject"}, False),
        ({"url": "https://mesh.mesh-system.example.com/inject"}, False),
        ({"url": "https://[/"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_a_webhook_is_the_meshs_if_it_asks_in_its_namespace(config: dict[str, Any], whose: bool, kind: str):
    found: dict[str, Any] = {kind: [{"metadata": {"name": "w"}, "webhooks": [{"clientConfig": config}]}]}
    ctx = context(**found)
    assert webhooks(ctx, (("mesh-system", "mesh"),)) == ((f"{kind} w",) if whose else ())
    assert webhooks(ctx, ()) == ()


WEBHOOK = {"metadata": {"name": "w"}, "webhooks": [{"clientConfig": {"url": "https://mesh.mesh-system.svc"}}]}


@pytest.mark.parametrize(
    ("left", "created"),
    [
        ({}, True),
        ({"ClusterRoleBinding": [binding("b", ("ServiceAccount", "mesh-system", "mesh"))]}, True),
        ({"MutatingWebhookConfiguration": [WEBHOOK]}, False),
    ],
)
def test_a_pod_is_created_anew_unless_a_webhook_may_keep_it(
    monkeypatch: pytest.MonkeyPatch, left: dict[str, Any], created: bool
):
    history = collected(monkeypatch, GONE.ended, left)
    assert (history.before, history.after) == (BEFORE, AFTER if created else None)
    assert len(history.left) == len(left)
    assert judge_uninstalled(history).verdict is (Verdict.FAIL if left else Verdict.PASS)


def test_nothing_is_waited_for_where_the_command_was_not_started(monkeypatch: pytest.MonkeyPatch):
    history = collected(monkeypatch, Ended(127, "no such file", started=False), {"MutatingWebhookConfiguration": []})
    assert history.after == BEFORE
    assert judge_uninstalled(history).verdict is Verdict.INCONCLUSIVE


def collected(monkeypatch: pytest.MonkeyPatch, ended: Ended, left: dict[str, Any]) -> Uninstalled:
    rolled: list[str] = []
    monkeypatch.setattr(uninstalling, "observe", lambda *_: AFTER if rolled else BEFORE)
    monkeypatch.setattr(uninstalling, "roll_out", lambda *_: rolled.append("server"))
    monkeypatch.setattr(uninstalling, "_marks", lambda _: ())
    ctx = context("mesh", **left)
    ctx.run = "r"
    ctx.adapter = SimpleNamespace(control_plane=lambda: ("mesh-system", "mesh"), render=lambda _: Rendered())
    ctx.render = ctx.adapter.render
    ctx.farewell = SimpleNamespace(say=lambda: ended)
    ctx.watch = lambda probe, _: probe()
    return uninstalling.uninstalled(ctx)
