"""Bundles: judged again they say the same, and no planted secret is anywhere in them."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections import defaultdict
from dataclasses import replace
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from conformance.adapters import Rendered, Unsupported
from conformance.adapters.pages import UNREAD, dump_pages
from conformance.bundle import read_bundle, write_bundle
from conformance.catalogue import checks, ground_of
from conformance.checks.weights import Split
from conformance.context import Context, NotInForce, Refused
from conformance.intents import Inject, MtlsMode
from conformance.probes import Probed
from conformance.redaction import REMOVED, redact, redact_log, redacted, redacted_history, redacted_scene
from conformance.replay import Replayed, replay
from conformance.runner import judged
from conformance.trouble import LAST_SEEN, Trouble
from fixtures.kube import Kube
from meshproof_cli import main
from reports.errors import EnvironmentProblem, UsageProblem
from reports.model import Result, Verdict
from tests.secret_names import LOGS, SPOKEN

PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    .decode()
)
DER = base64.b64encode(base64.b64decode("".join(PEM.splitlines()[1:-1]))).decode()
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
OPAQUE = "k3Jd9sPq0ZxW7vBn5mTr"
PASSWORD = "correct-horse-battery"
SECRETS = {PEM, DER, TOKEN, OPAQUE, PASSWORD, base64.b64encode(PEM.encode()).decode()}
WEIGHTS = next(one for one in checks() if one.id == "WT-01")
BAD = Split({"v1": 90, "v2": 10}, ("v1",) * 500 + ("v2",) * 500, 1e-5)


def test_keys_and_tokens_are_removed_from_text():
    encoded = base64.b64encode(PEM.encode()).decode()
    text = redact(f"a {PEM} b {TOKEN} c authorization: Bearer {OPAQUE} d {encoded} e {DER} f Basic {OPAQUE}=")
    assert not [secret for secret in SECRETS if secret in text]
    assert text.count(REMOVED) == 6
    assert text.startswith("a [removed]")


def test_a_cut_off_key_is_removed_and_a_certificate_stays():
    assert redact(PEM[:90]) == REMOVED
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    assert redact(certificate) == certificate
    encoded = base64.b64encode((certificate * 2).encode()).decode()
    assert redact(encoded) == encoded


def test_a_key_of_a_kind_that_nobody_knows_costs_no_bundle():
    """PKCS#8 with the algorithm 1.2.3.4.5."""
    encoded = base64.b64encode(bytes.fromhex("3082010f020100300606042a03040504820100") + b"x" * 256).decode()
    assert redact(f"GET /{encoded} 200") == f"GET /{REMOVED} 200"


def test_keys_and_tokens_are_removed_from_objects():
    applied = json.dumps({"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": OPAQUE}})
    value = {
        "kind": "Secret",
        "data": {"a": "b"},
        "nested": [{"privateKey": "x", "note": TOKEN, "token": "t", "tokens": 3}],
        "env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "HOME", "value": "/root"}],
        "headers": {"authorization": ["Bearer x"], "accept": ["*/*"]},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied},
    }
    cleaned = redacted(value)
    assert OPAQUE not in json.dumps(cleaned)
    del cleaned["annotations"]
    assert cleaned == {
        "kind": "Secret",
        "data": REMOVED,
        "nested": [{"privateKey": REMOVED, "note": REMOVED, "token": REMOVED, "tokens": 3}],
        "env": [{"name": "DB_PASSWORD", "value": REMOVED}, {"name": "HOME", "value": "/root"}],
        "headers": {"authorization": REMOVED, "accept": ["*/*"]},
    }


def forms(secret: str) -> list[Any]:
    """How objects say what a header is, beside a name that speaks of a secret."""
    return [
        {"header": {"key": "authorization", "value": secret}},
        {"headers": {"x-api-key": {"exact": secret}}},
        {"when": [{"key": "request.headers[x-api-key]", "notValues": [secret]}]},
        {"header": {"name": "x-api-key", "string_match": {"safe_regex": {"regex": secret}}}},
    ]


def test_a_secret_is_removed_below_a_name_of_one_and_what_refers_to_it_stays():
    assert PASSWORD not in json.dumps(redacted(forms(PASSWORD)))
    assert PASSWORD not in json.dumps(redacted_history(forms(PASSWORD)))
    kept = [{"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}, {"key": "x", "a": 1}]
    assert redacted(kept) == kept


@pytest.mark.parametrize("name", SPOKEN)
def test_a_secret_is_known_by_the_common_names(name):
    assert redacted({"env": [{"name": name, "value": "x"}]}) == {"env": [{"name": name, "value": REMOVED}]}
    assert redacted({name: "x"}) == {name: REMOVED}
    assert PASSWORD not in json.dumps(redacted_history([{"name": name, "value": PASSWORD}, {name: PASSWORD}]))


FORMS = ("{}={}", "{}: {}", '"{}":"{}"', r"\"{}\": \"{}\"", "GET /?a=1&{}={}&b=2", "{}: Bearer {}")


@pytest.mark.parametrize("name", [*SPOKEN, "password", "access_token", "client_secret", "x-api-key"])
@pytest.mark.parametrize("form", FORMS)
def test_a_log_loses_what_stands_after_a_name_of_a_secret(name, form):
    log = f"at 12:00 {form.format(name, 'hunter2')} done=true"
    assert redact_log(log) == log.replace("Bearer hunter2", "hunter2").replace("hunter2", REMOVED)


@pytest.mark.parametrize(("log", "kept"), LOGS)
def test_a_log_loses_a_secret_wherever_its_name_stands(log, kept):
    assert redact_log(log) == kept.replace("#", REMOVED)


@pytest.mark.parametrize(
    "piece", ["a=", 'password="', "password=\\", "a.", "token:", " \t", r"\"password\":\"", "curl -u ", "token: |\n \n"]
)
def test_a_long_line_takes_no_longer_for_what_is_in_it(piece):
    began = time.process_time()
    redact_log(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 5  # where each piece looked at the rest of the line, it would be hours


def test_keys_of_clouds_and_forges_are_known_by_their_form():
    keys = ("AKIA" + "A1" * 8, "ghp_" + "a1" * 18, "github_pat_" + "a1" * 20)
    assert redact(f"used {' and '.join(keys)}.") == f"used {REMOVED} and {REMOVED} and {REMOVED}."
    others = ("hvs." + "a1" * 12, "xoxb-" + "a1-" * 8 + "z", "AIza" + "a1" * 17 + "b", "glpat-" + "a1" * 10)
    assert redact(f"used {' and '.join(others)}.") == f"used {' and '.join([REMOVED] * 4)}."
    kept = "secretName=shop level=info status: 200 path:/token mode=permissive tokens_total 12"
    assert redact_log(kept) == kept


def test_secrets_of_addresses_arguments_and_envoys_own_are_removed():
    assert redacted(f"postgres://u:{PASSWORD}@h/db") == f"postgres://u:{REMOVED}@h/db"
    assert redacted(["--password", PASSWORD, "--port", "80"]) == ["--password", REMOVED, "--port", "80"]
    assert redact(f"run --db-password {PASSWORD} --port 80") == f"run --db-password {REMOVED} --port 80"
    assert redact(f"run --db-password='{PASSWORD}' --port 80") == f"run --db-password='{REMOVED}' --port 80"
    generic = {"name": "api", "generic_secret": {"secret": {"inline_string": "x"}}}
    chain = {"name": "default", "tls_certificate": {"certificate_chain": {"filename": "/chain.pem"}}}
    dump = {"dynamic_active_secrets": [{"name": "a", "secret": generic}, {"name": "b", "secret": chain}]}
    hidden = {"name": "api", "generic_secret": {"secret": {"inline_string": REMOVED}}}
    assert redacted(dump) == {
        "dynamic_active_secrets": [{"name": "a", "secret": hidden}, {"name": "b", "secret": chain}]
    }


@pytest.mark.parametrize(
    ("log", "kept"),
    [
        ("a:\n  private_key: |\n    k3Jd9s\n\n    Pq0ZxW=\n  port: 80\n", "a:\n  private_key: |\n    #\n  port: 80\n"),
        ("client_secret: >-\n  hunter2", "client_secret: >-\n  #"),
        ("private_key: |\nport: 80", "private_key: |\nport: 80"),
        (
            "GET https://a.blob/b?sv=2024&sig=k3Jd9sPq0ZxW7vBn5mTr%2Bx%3D&se=1",
            "GET https://a.blob/b?sv=2024&sig=#&se=1",
        ),
        ("at ?sig=v1 and a big=k3Jd9sPq0ZxW7vBn5mTr", "at ?sig=v1 and a big=k3Jd9sPq0ZxW7vBn5mTr"),
        ("sh -c 'curl -sf -u shop:hunter2 http://h'", "sh -c 'curl -sf -u shop:# http://h'"),
        ('curl http://h --user "shop:hunter2"', 'curl http://h --user "shop:#"'),
        ("date -u +%H:%M; docker run -u 1000:1000 x", "date -u +%H:%M; docker run -u 1000:1000 x"),
        ('wrote {"auths":{"r":{"auth":"c2hvcDpodW50ZXIy"}}}', 'wrote {"auths":{"r":{"auth":"#"}}}'),
        ('{"auths": {"r": {"auth": "c2hvcDpodW50ZXIy"}}}', '{"auths": {"r": {"auth": "#"}}}'),
        ("policy \"auth\": \"required\", 'auth': 'disabled'", "policy \"auth\": \"required\", 'auth': 'disabled'"),
    ],
)
def test_secrets_of_other_tools_are_known_by_their_place(log, kept):
    kept = kept.replace("#", REMOVED)
    assert redacted_scene(log) == kept
    assert redacted_scene(kept) == kept


def test_what_tells_a_place_or_a_route_and_no_secret_stays():
    kept = [
        {"consistentHash": {"httpCookie": {"name": "user", "path": "/", "ttl": "60s"}}},
        {"jwtRules": [{"fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}], "fromParams": ["token"]}]},
        {"http": [{"name": "token", "match": [{"uri": {"exact": "/token"}}], "route": []}]},
        {"rules": [{"name": "token", "matches": [{"path": {"value": "/token"}}]}]},
    ]
    assert redacted(kept) == kept
    assert redacted_history(kept) == kept
    assert redacted({"key": "x-api-key", "match": {"exact": "x"}}) == {"key": "x-api-key", "match": {"exact": REMOVED}}


def test_a_history_keeps_the_names_of_its_cases_but_no_secret():
    history = {"token": "expired", "case": {"token": OPAQUE}, "seen": [{"password": [PASSWORD, "wrong"]}]}
    assert redacted_history(history) == {
        "token": "expired",
        "case": {"token": REMOVED},
        "seen": [{"password": [REMOVED, "wrong"]}],
    }


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("login with password=hunter2 failed", "login with password=# failed"),
        ('{"kind": "Db", "dsn": "host=db password=hunter2"}', '{"kind": "Db", "dsn": "host=db password=#"}'),
        ("pulling https://hunter2@registry/x", "pulling https://#@registry/x"),
    ],
)
def test_texts_of_a_cluster_are_cleaned_as_logs_are_and_those_of_a_history_stay(text, kept):
    assert redacted_scene({"message": text}) == {"message": kept.replace("#", REMOVED)}
    assert redacted_history({"message": text}) == {"message": text}


@given(st.text())
def test_redaction_is_stable(text):
    assert redact(redact(text)) == redact(text)
    assert redacted(redacted(text)) == redacted(text)
    assert redacted_scene(redacted_scene(text)) == redacted_scene(text)


# -- whole bundles -----------------------------------------------------------------------------------------------------


class LeakyKube:
    """A cluster whose objects, pods, events and logs are full of secrets."""

    def get(self, _version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        spec = {"selector": {"matchLabels": {"app": "plane"}}}
        status = {"conditions": [{"type": "Accepted", "message": f"read with {TOKEN}, password={PASSWORD}"}]}
        meta = {"name": name, "namespace": namespace, "managedFields": [{"manager": "meshproof"}]}
        held = {"data": {"key": PASSWORD}} if kind == "Secret" else {"token": OPAQUE}
        return None if kind == "Gone" else {"metadata": meta, "spec": spec, "status": status, **held}

    def list(self, _version: str, kind: str, namespace: str, _selector: object = "") -> list[dict[str, Any]]:
        if kind == "Event":
            return [{"message": f"failed with token {TOKEN}, pull https://{OPAQUE}@registry/x?access_token={PASSWORD}"}]
        if kind in {"Service", "EndpointSlice"}:
            return [{"kind": kind, "metadata": {"name": "web", "annotations": {"x-api-key": OPAQUE}}}]
        env = [{"name": "API_KEY", "value": OPAQUE}, {"name": "X", "value": f"Bearer {OPAQUE}"}]
        env.append({"name": "DSN", "value": f"host=db user=plane password={PASSWORD}"})
        command = ["sh", "-c", f"plane 'jdbc:db://h/x?user=a&password={PASSWORD}'"]
        spec = {"containers": [{"name": "app", "env": env, "command": command}], "volumes": [{"inlineBytes": DER}]}
        return [{"metadata": {"name": "web", "namespace": namespace}, "spec": spec, "status": {"phase": "Running"}}]

    def logs(self, _space: str, _pod: str, _container: str, *, previous: bool = False, tail: int | None = None) -> str:
        return f"{'before' if previous else 'now'}, {tail} lines: starting with {PEM} and {TOKEN}"


class LeakyMesh:
    """A mesh whose proxies show everything."""

    name = "leaky"
    plane: tuple[str, str] | None = ("mesh-system", "plane")

    def render(self, intent: object) -> Rendered | Unsupported:
        if isinstance(intent, MtlsMode):
            meta = {"name": "standing", "namespace": intent.namespace, "annotations": {"password": PASSWORD}}
            return Rendered(({"apiVersion": "m/v1", "kind": "Mtls", "metadata": meta},))
        return Rendered(labels={"join": "yes"}) if isinstance(intent, Inject) else Unsupported("no words")

    def control_plane(self) -> tuple[str, str] | None:
        return self.plane

    def dump(self, *_: object) -> dict[str, str]:
        config = {"secrets": [{"private_key": {"inline_bytes": PASSWORD}}, {"token": OPAQUE}, f"x-api-key: {OPAQUE}"]}
        return {"config.json": json.dumps(config), "stats.txt": f"x {TOKEN}"}


def context(kube: object = None, mesh: object = None, ground: str = "wt") -> Context:
    made = cast("Any", kube or LeakyKube()), cast("Any", mesh or LeakyMesh())
    return Context(*made, ground_of(ground), run="r", image="i", alpha=1e-5)


def sent(kind: str = "Route", **more: object) -> dict[str, Any]:
    return {"apiVersion": "m/v1", "kind": kind, "metadata": {"name": "s", "namespace": "mp-r-wt-in"}, **more}


def result(verdict: Verdict, reason: str, check: str = "WT-01") -> Result:
    return Result(check, "t", "check", "WT", "core", verdict, reason)


def test_no_planted_secret_is_in_a_bundle(tmp_path):
    history = replace(BAD, answers=(*BAD.answers, f"error: {TOKEN}", PEM))
    error = EnvironmentProblem(f"told {TOKEN}")
    found = result(Verdict.FAIL, f"because of {TOKEN}")
    ctx = context()
    ctx.applied.append(sent("Secret", stringData={"key": PASSWORD}))
    ctx.applied.append(sent("Gone", spec={"password": PASSWORD}))
    folder = write_bundle(tmp_path, ctx, found, history, error)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 16
    for path in files:
        text = path.read_text()
        assert not [secret for secret in SECRETS if secret in text], path.name
    assert REMOVED in (folder / "web.app.log").read_text()
    assert objects(folder, "sent.yaml")[-2]["stringData"] == REMOVED
    assert objects(folder, "intents.yaml")[-2]["data"] == REMOVED
    assert not (folder / "missing.txt").exists()


def objects(folder: Path, file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((folder / file).read_text()))


def test_objects_are_kept_as_they_are_and_as_they_were_sent(tmp_path):
    """A status says what the mesh made of an object; what was sent before it was changed is told nowhere else."""
    ctx = context(ground="gw")
    ctx.applied += [sent(spec=1), sent(spec=2), sent("Gone", spec=3)]
    folder = write_bundle(tmp_path, ctx, result(Verdict.FAIL, "bad"), BAD, None)
    kinds = [one["kind"] for one in objects(folder, "sent.yaml")]
    assert kinds[-3:] == ["Route", "Route", "Gone"]
    assert {"Namespace", "Mtls"} <= set(kinds[:-3])
    live = objects(folder, "intents.yaml")
    assert [one["kind"] for one in live] == [*kinds[:-3], "Route", "Gone"]
    assert all("status" in one and "managedFields" not in one["metadata"] for one in live[:-1])
    assert live[-1] == sent("Gone", spec=3)
    assert (folder / "intents.yaml").read_text().count("# Gone") == 1


def test_services_and_endpoints_are_kept(tmp_path):
    folder = write_bundle(tmp_path, context(), result(Verdict.FAIL, "bad"), BAD, None)
    for file, kind in (("services", "Service"), ("endpointslices", "EndpointSlice")):
        (one,) = json.loads((folder / f"mp-r-wt-in.{file}.json").read_text())
        assert one["kind"] == kind


def test_the_last_lines_of_the_control_plane_are_kept(tmp_path):
    folder = write_bundle(tmp_path, context(), result(Verdict.FAIL, "bad"), BAD, None)
    assert "500 lines" in (folder / "control-plane.web.app.log").read_text()
    assert json.loads((folder / "control-plane.pods.json").read_text())[0]["metadata"]["namespace"] == "mesh-system"


class PlanelessMesh(LeakyMesh):
    """Nobody has said where its control plane is."""

    plane = None


class Planeless(LeakyKube):
    """A cluster in which it is not where it should be."""

    def get(self, version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        return None if kind == "Deployment" else super().get(version, kind, name, namespace)


@pytest.mark.parametrize(
    ("kube", "mesh", "said"),
    [
        (LeakyKube(), PlanelessMesh(), "nobody has said where its control plane is"),
        (Planeless(), LeakyMesh(), "there is no Deployment mesh-system/plane"),
    ],
)
def test_a_control_plane_that_is_not_found_is_named(tmp_path, kube, mesh, said):
    folder = write_bundle(tmp_path, context(kube, mesh), result(Verdict.FAIL, "bad"), BAD, None)
    assert (folder / "missing.txt").read_text().startswith(f"the control plane's logs: {said}")
    assert (folder / "web.app.log").exists()


class EndedKube(LeakyKube):
    """A pod whose init container fails again and again, and whose application has not started."""

    phase = "Pending"

    def list(self, version: str, kind: str, namespace: str, _selector: object = "") -> list[dict[str, Any]]:
        (one,) = super().list(version, kind, namespace)
        if kind != "Pod":
            return [one]
        spec = {**one["spec"], "initContainers": [{"name": "init"}]}
        ran = {"name": "init", "restartCount": 2, "state": {"terminated": {"exitCode": 1}}}
        waits = {"name": "app", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
        status = {"phase": self.phase, "initContainerStatuses": [ran], "containerStatuses": [waits]}
        return [{**one, "spec": spec, "status": status}]


class FailedKube(EndedKube):
    """The same, given up."""

    phase = "Failed"


@pytest.mark.parametrize("kube", [EndedKube(), FailedKube()])
def test_the_logs_of_what_failed_to_start_or_ended_are_kept(tmp_path, kube):
    folder = write_bundle(tmp_path, context(kube), result(Verdict.FAIL, "bad"), BAD, None)
    assert (folder / "web.init.log").read_text().startswith("now")
    assert (folder / "web.init.previous.log").read_text().startswith("before")
    waits = "log of mp-r-wt-in/web app: it has not started"
    assert (folder / "missing.txt").exists() == (kube.phase == "Pending")
    assert kube.phase != "Pending" or waits in (folder / "missing.txt").read_text()
    assert not (folder / "web.config.json").exists()  # no proxy to ask


class BrokenKube(LeakyKube):
    """Of which no object that was applied and no log is to be had."""

    def get(self, *_: object) -> dict[str, Any] | None:
        raise EnvironmentProblem(f"the API server is unreachable: {TOKEN}")

    def logs(self, *_: object, **__: object) -> str:
        raise EnvironmentProblem(f"the API server is unreachable: {TOKEN}")


class BrokenMesh(LeakyMesh):
    """Whose proxies break off in the middle of an answer."""

    def dump(self, *_: object) -> dict[str, str]:
        raise IncompleteRead(b"{")


def test_what_cannot_be_had_is_named_and_the_rest_is_kept(tmp_path):
    ctx = context(BrokenKube(), BrokenMesh())
    ctx.applied.append(sent(spec=1))
    folder = write_bundle(tmp_path, ctx, result(Verdict.FAIL, "bad"), BAD, None)
    missing = (folder / "missing.txt").read_text()
    assert "log of mp-r-wt-in/web app: the API server is unreachable" in missing
    assert "what the proxy of mp-r-wt-in/web says: IncompleteRead" in missing
    assert "Route mp-r-wt-in/s: the API server is unreachable" in missing
    assert "the control plane's logs: the API server is unreachable" in missing
    assert TOKEN not in missing
    assert (folder / "mp-r-wt-out.pods.json").exists()
    assert objects(folder, "intents.yaml")[-1] == sent(spec=1)


class MeetingKube(LeakyKube):
    """Two pods, each of whose logs comes only when both are asked for."""

    def __init__(self) -> None:
        self.both: defaultdict[str, threading.Barrier] = defaultdict(lambda: threading.Barrier(2))

    def list(self, version: str, kind: str, namespace: str, _selector: object = "") -> list[dict[str, Any]]:
        (one,) = super().list(version, kind, namespace)
        return [one | {"metadata": {**one["metadata"], "name": name}} for name in "ab"] if kind == "Pod" else [one]

    def logs(self, _space: str, *_: object, **__: object) -> str:
        try:
            self.both[_space].wait(timeout=10)
        except threading.BrokenBarrierError as error:
            raise EnvironmentProblem("one after the other") from error
        return "together"


def test_pods_are_read_side_by_side(tmp_path):
    folder = write_bundle(tmp_path, context(MeetingKube()), result(Verdict.FAIL, "bad"), BAD, None)
    assert not (folder / "missing.txt").exists()
    assert [(folder / f"{pod}.app.log").read_text() for pod in "ab"] == ["together"] * 2


class Cut(BaseHTTPRequestHandler):
    """A server whose answers end too soon."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def test_a_page_that_breaks_off_costs_no_other_page():
    with HTTPServer(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = contextlib.nullcontext(("127.0.0.1", server.server_port))
        kube = cast("Kube", SimpleNamespace(forward=lambda *_: at))
        found = dump_pages(kube, "ns", "pod", "", 15000, {"a.txt": "/a", "b.txt": "/b"})
        server.shutdown()
    assert found.keys() == {"a.txt", "b.txt"}
    assert all(text.startswith(UNREAD) for text in found.values())


SEEN = (Probed(7, 1.5, "in/client", "http1 GET http://server:8080/", 30, 200, by="application", version="v1"),)
"""Of the last look at a gate."""


@pytest.mark.parametrize(
    "history",
    [
        BAD,
        replace(BAD, answers=()),
        Trouble.of(NotInForce("no mark")),
        Trouble.of(NotInForce("no mark", SEEN)),
        Trouble.of(Refused("refused", status=422, message="spec.x: bad")),
        Trouble.of(EnvironmentProblem("gone " * 200)),
    ],
)
def test_a_replay_says_what_the_run_said(tmp_path, history):
    said = judged(WEIGHTS.judge, history)
    folder = write_bundle(tmp_path, None, result(said.verdict, said.reason), history, None)
    for place in (folder, folder / "history.json", tmp_path):
        (again,) = replay(place)
        assert isinstance(again, Replayed)
        assert again.same
        assert again.now == said
    assert read_bundle(folder).history == history


def test_a_replay_shows_another_verdict(tmp_path, capsys):
    write_bundle(tmp_path, None, result(Verdict.PASS, "fine"), BAD, None)
    code = call("replay", str(tmp_path), "-o", "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (row["id"], row["recorded"], row["now"], row["same"]) == ("WT-01", "pass", "fail", "no")


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_replay_says_that_a_check_ended_at_its_gate_and_what_was_seen_there(tmp_path, capsys, output):
    said = Trouble.of(NotInForce("the mark: not within 10 s", SEEN))
    folder = write_bundle(tmp_path, None, result(Verdict.FAIL, "the mark: not within 10 s"), said, None)
    assert call("replay", str(folder), "-o", output) == 0
    printed = capsys.readouterr().out
    if output == "json":
        (row,) = json.loads(printed)
        assert row["judged from"] == "no history: the check ended at its gate"
        (seen,) = row["last seen"]
        assert (seen["answers"], seen["status"], seen["version"]) == (30, 200, "v1")
    else:
        assert "no history: the check ended at its gate" in printed
        assert f"WT-01: {LAST_SEEN}" in printed
        assert "http1 GET http://server:8080/" in printed


def test_a_bundle_of_before_the_probes_were_kept_is_read(tmp_path):
    folder = write_bundle(tmp_path, None, result(Verdict.FAIL, "no mark"), Trouble.of(NotInForce("no mark")), None)
    document = json.loads((folder / "history.json").read_text())
    del document["history"]["seen"]
    (folder / "history.json").write_text(json.dumps(document))
    (again,) = replay(folder)
    assert isinstance(again, Replayed)
    assert again.same


def call(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    return ended.value.code


def test_a_failure_while_the_machine_stood_still_stays_none(tmp_path):
    folder = write_bundle(tmp_path, None, result(Verdict.INCONCLUSIVE, "stood still"), BAD, None, 4.5)
    (again,) = replay(folder)
    assert isinstance(again, Replayed)
    assert again.same
    assert "4.5 s" in again.now.reason


def test_the_same_verdict_is_exit_code_0(tmp_path, capsys):
    write_bundle(tmp_path, None, result(Verdict.FAIL, "bad"), BAD, None)
    assert call("replay", str(tmp_path / "bundles" / "WT-01")) == 0
    assert "WT-01" in capsys.readouterr().out


def edited(folder: Path, file: str, **changes: object) -> None:
    document = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**document, **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("history.json", {"format": "other/v9"}, "not in the format"),
        ("history.json", {"history": {"$type": "os:system"}}, "does not know"),
        ("history.json", {"not kept": "history.x is a socket"}, "history.x is a socket"),
        ("history.json", {"stall": "long"}, "should be seconds"),
        ("result.json", {"verdict": "perhaps"}, "is no result"),
        ("result.json", {"id": "WT-99"}, "no check called 'WT-99'"),
    ],
)
def test_a_bundle_that_cannot_be_judged_is_one_sentence(tmp_path, file, changes, said):
    folder = write_bundle(tmp_path, None, result(Verdict.FAIL, "bad"), BAD, None)
    edited(folder, file, **changes)
    with pytest.raises(UsageProblem, match=said):
        replay(folder)


def test_a_place_without_a_bundle_is_one_sentence(tmp_path):
    with pytest.raises(UsageProblem, match="no bundle at"):
        replay(tmp_path)
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(UsageProblem, match="is not JSON"):
        replay(tmp_path)


def test_a_bundle_holds_nothing_of_an_earlier_one_of_its_check(tmp_path):
    write_bundle(tmp_path, None, result(Verdict.INCONCLUSIVE, "crash"), Trouble.of(KeyError("x")), KeyError("x"))
    folder = write_bundle(tmp_path, None, result(Verdict.FAIL, "bad"), BAD, None)
    assert {one.name for one in folder.iterdir()} == {"history.json", "result.json"}


@pytest.mark.parametrize(("today", "code"), [(Verdict.FAIL, 2), (Verdict.INCONCLUSIVE, 1)])
def test_a_bundle_that_cannot_be_judged_costs_the_others_nothing(tmp_path, capsys, today, code):
    for check in ("AZ-01", "WT-01", "WT-02"):
        write_bundle(tmp_path, None, result(Verdict.FAIL, "bad", check), BAD, None)
    edited(tmp_path / "bundles" / "AZ-01", "history.json", **{"not kept": "history.x is a socket"})
    edited(tmp_path / "bundles" / "WT-02", "result.json", id="WT-99")
    edited(tmp_path / "bundles" / "WT-01", "result.json", verdict=today)
    with pytest.raises(SystemExit) as ended:
        main.main(["replay", str(tmp_path), "-o", "json"])
    assert ended.value.code == code
    rows = {row["id"]: (row["now"], row["reason"]) for row in json.loads(capsys.readouterr().out)}
    assert rows["WT-01"][0] == "fail"
    assert [rows[one][0] for one in ("AZ-01", "WT-02")] == ["not judged"] * 2
    assert "history.x is a socket" in rows["AZ-01"][1]
    assert "no check called 'WT-99'" in rows["WT-02"][1]
