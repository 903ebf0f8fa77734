"""A bug report holds what helps and no secret, wherever one was planted."""

from __future__ import annotations

import base64
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from refmesh.install.bug_report import Report, _part, write
from refmesh.install.redaction import FOREIGN, GONE, clean, clean_text
from tests.secret_names import LOGS, SPOKEN

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
DER = base64.b64encode(KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())).decode()
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
PASSWORD = "hunter2-hunter2"
BODY = PEM.splitlines()[1]
SECRETS = (BODY, DER, base64.b64encode(PEM.encode()).decode(), JWT, PASSWORD)
# PKCS#8 of a kind that nobody knows (1.2.3.4.5), and X448 (RFC 8410) of a length that it has not.
ODD = (
    base64.urlsafe_b64encode(bytes.fromhex("3035020100300606042a0304050428") + b"x" * 40).decode(),
    base64.urlsafe_b64encode(bytes.fromhex("302e020100300506032b656f04220420") + b"x" * 32).decode(),
)

POD: dict[str, Any] = {
    "kind": "Pod",
    "metadata": {
        "name": "a",
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps(
                {"kind": "Secret", "data": {"x": base64.b64encode(PASSWORD.encode()).decode()}, "password": PASSWORD}
            )
        },
    },
    "spec": {
        "containers": [
            {
                "args": ["--db-password=" + PASSWORD, "--port=80"],
                "env": [{"name": "API_TOKEN", "value": PASSWORD}, {"name": "MODE", "value": "fast"}],
            }
        ],
        "volumes": [{"secret": {"secretName": "certs"}}],
        "automountServiceAccountToken": False,
    },
}

HEADERS: list[dict[str, Any]] = [
    {"header": {"key": "authorization", "value": PASSWORD}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
    {"headers": {"x-api-key": {"exact": PASSWORD}, "end-user": {"exact": "jason"}}},
    {"when": [{"key": "request.headers[x-api-key]", "values": [PASSWORD]}, {"key": "a", "notValues": ["b"]}]},
    {"header": {"name": "x-api-key", "string_match": {"safe_regex": {"regex": PASSWORD}}}},
]


def test_nothing_planted_survives_anywhere(tmp_path: Path) -> None:
    report = Report()
    report.put("pod.yaml", POD)
    report.put("keys.yaml", {"a": [PEM, DER, base64.b64encode(PEM.encode()).decode()], "jwks": json.dumps(
        {"keys": [{"kty": "oct", "k": PASSWORD}, {"kty": "EC", "x": "public", "d": PASSWORD}]})})  # fmt: skip
    report.put("dump.json", json.dumps(clean({"private_key": {"inline_string": PEM}, "secret": {"name": "default"}})))
    report.put(
        "log.txt", f"GET /a?access_token={PASSWORD}&x=1\nAuthorization: Bearer {JWT}\ncookie: {PASSWORD}\n{PEM}\n"
    )
    report.put("raw.json", json.dumps({"key": PEM}))
    report.put("headers.yaml", HEADERS)
    report.put("config.json", json.dumps(clean(HEADERS), indent=1))
    report.put("cut.txt", PEM[: len(PEM) // 2])
    path = tmp_path / "report.tar.gz"
    write(report, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        files = {item.name: archive.extractfile(item) for item in archive.getmembers()}
        text = {name: file.read().decode() for name, file in files.items() if file is not None}
    assert set(text) == {f"refmesh-bug-report/{name}" for name in report.files}
    for name, content in text.items():
        for secret in SECRETS:
            assert secret not in content, name
    pod = yaml.safe_load(text["refmesh-bug-report/pod.yaml"])
    container = pod["spec"]["containers"][0]
    assert container["args"][1] == "--port=80"
    assert container["env"] == [{"name": "API_TOKEN", "value": FOREIGN}, {"name": "MODE", "value": FOREIGN}]
    assert pod["spec"]["volumes"] == [{"secret": {"secretName": "certs"}}]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert json.loads(text["refmesh-bug-report/dump.json"])["secret"] == {"name": "default"}
    assert "x=1" in text["refmesh-bug-report/log.txt"]
    headers = yaml.safe_load(text["refmesh-bug-report/headers.yaml"])
    assert headers[0]["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
    assert headers[1]["headers"]["end-user"] == {"exact": "jason"}
    assert headers[2]["when"] == [
        {"key": "request.headers[x-api-key]", "values": [GONE]},
        {"key": "a", "notValues": ["b"]},
    ]


SHORT = "hunter2"


@pytest.mark.parametrize("name", SPOKEN)
def test_a_secret_is_known_by_the_common_names(name: str) -> None:
    variable = {"name": name, "value": SHORT}
    for planted in ({"name": "refmesh-proxy", "env": [variable]}, {name: SHORT}, f"{name}={SHORT} MODE=fast"):
        assert SHORT not in json.dumps(clean(planted)), planted
    assert clean(f"{name}={SHORT} MODE=fast").endswith("MODE=fast")


@pytest.mark.parametrize(("log", "kept"), LOGS)
def test_a_log_loses_a_secret_wherever_its_name_stands(log: str, kept: str) -> None:
    assert clean_text(log) == kept.replace("#", GONE)


def test_keys_of_clouds_and_forges_are_known_by_their_form() -> None:
    keys = ("AKIA" + "A1" * 8, "ghp_" + "a1" * 18, "github_pat_" + "a1" * 20)
    others = ("hvs." + "a1" * 12, "xoxb-" + "a1-" * 8 + "z", "AIza" + "a1" * 17 + "b", "glpat-" + "a1" * 10)
    assert clean_text(f"used {' and '.join(keys + others)}.") == f"used {' and '.join([GONE] * 7)}."


def test_an_argument_is_known_by_its_flag_in_quotes_too() -> None:
    for text in (f"run --password '{SHORT}' -v", f'run --db-token "{SHORT}" -v', f"sh --password {SHORT} -v"):
        assert SHORT not in clean(text), text
        assert clean(text).endswith("-v")
    assert clean("bypass: yes") == "bypass: yes"


def test_the_environment_of_an_application_stays_with_it() -> None:
    url = {"name": "DATABASE_URL", "value": f"postgres://u:{SHORT}@h/db"}
    mode = {"name": "MODE", "value": "fast"}
    source = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}
    pod = {
        "metadata": {"annotations": {"applied": json.dumps({"containers": [{"name": "app", "env": [url, mode]}]})}},
        "initContainers": [{"name": "refmesh-proxy", "env": [url, mode]}],
        "containers": [{"name": "app", "env": [url, mode, source]}, {"env": [url]}],
    }
    kept: Any = clean(pod)
    assert SHORT not in json.dumps(kept)
    assert json.loads(kept["metadata"]["annotations"]["applied"])["containers"][0]["env"][1]["value"] == FOREIGN
    assert kept["initContainers"][0]["env"][0]["value"] == f"postgres://u:{GONE}@h/db"
    assert kept["initContainers"][0]["env"][1] == mode
    assert kept["containers"][0]["env"][1:] == [{"name": "MODE", "value": FOREIGN}, source]


def test_an_argument_after_a_flag_that_asks_for_a_secret_is_removed() -> None:
    arguments = ["--password", SHORT, "--port", "80", "--api-key", SHORT, "--print-token", "--fast"]
    assert clean(arguments) == ["--password", GONE, "--port", "80", "--api-key", GONE, "--print-token", "--fast"]
    script = ["sh", "-c", f"run --db-password {SHORT} --port 80"]
    assert clean(script) == ["sh", "-c", f"run --db-password {GONE} --port 80"]


def test_what_tells_a_place_or_a_route_and_no_secret_stays() -> None:
    kept = [
        {"consistentHash": {"httpCookie": {"name": "user", "path": "/", "ttl": "60s"}}},
        {"hash_policy": [{"cookie": {"name": "user", "ttl": "60s"}}]},
        {"jwtRules": [{"fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}], "fromParams": ["token"]}]},
        {"http": [{"name": "token", "match": [{"uri": {"exact": "/token"}}], "route": []}]},
        {"routes": [{"name": "token", "match": {"prefix": "/token"}}]},
        {"rules": [{"name": "token", "matches": [{"path": {"value": "/token"}}]}]},
    ]
    assert clean(kept) == kept
    assert SHORT not in json.dumps(clean({"key": "x-api-key", "match": {"exact": SHORT}}))


def test_what_only_refers_to_a_secret_stays() -> None:
    kept = [
        {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
        {"serviceAccountToken": {"audience": "refmesh", "path": "token"}},
        {"secret": {"name": "default", "tls_certificate": {"certificate_chain": {"inline_bytes": "TUlJQg=="}}}},
        {"metadata": {"name": "shop-token", "namespace": "shop", "labels": {"app": "shop"}}},
    ]
    assert clean(kept) == kept


def test_certificates_and_ordinary_text_stay() -> None:
    ordinary = "secret:\n  name: default\ntoken: \nspiffe://cluster.local/ns/a/sa/b 200 outbound|80||a.b"
    assert clean_text(ordinary) == ordinary
    public = base64.b64encode(bytes(range(256))).decode()
    assert clean_text(public) == public


@pytest.mark.parametrize("odd", ODD)
def test_what_only_looks_like_a_key_ends_nothing(odd: str) -> None:
    assert clean_text(f"GET /a.{odd} 200") == f"GET /a.{GONE} 200"


async def test_a_part_that_fails_unforeseen_is_told_and_no_end() -> None:
    async def odd() -> str:
        raise KeyError("token=" + PASSWORD)

    report = Report()
    await _part(report, "log.txt", odd())
    assert report.missing == {"log.txt": f"KeyError: 'token={GONE}'"}


TREES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.floats(allow_nan=False), st.text(), st.sampled_from(["{", "[1]", '{"a":1}'])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)),
    max_leaves=12,
)


@given(TREES)
def test_any_json_can_be_cleaned_and_written(value: Any) -> None:
    json.dumps(clean(value))


NAMES = st.sampled_from(["authorization", "Cookie", "x-api-key", "request.headers[x-api-key]", "DB_PASSWORD", "token"])
HOLDERS = st.sampled_from(["value", "values", "notValues", "exact", "prefix", "string_match", "safe_regex_match"])
DEPTHS = st.lists(st.sampled_from(["a", "exact", "regex", "value", None]), max_size=4)


def nested(value: Any, keys: list[str | None]) -> Any:
    """A value below these keys; None: in a list."""
    for key in keys:
        value = [value] if key is None else {key: value}
    return value


@given(NAMES, HOLDERS, st.sampled_from(["name", "key", ""]), DEPTHS, DEPTHS)
def test_a_secret_under_a_name_of_one_never_survives(
    name: str, holder: str, beside: str, inner: list[str | None], outer: list[str | None]
) -> None:
    planted = nested(PASSWORD, inner)
    held = {beside: name, holder: planted, "other": 1} if beside else {name: planted}
    assert PASSWORD not in json.dumps(clean(nested(held, outer)))


@pytest.mark.parametrize("count", [1, 50_000])
def test_long_texts_are_quick(count: int) -> None:
    assert clean_text("a" * count) == "a" * count
    clean_text("token" * count)
    clean_text("-----BEGIN PRIVATE KEY-----" * min(count, 2000))
    for piece in ("://:", ".-", "--key ", "SECRET_", "_KEY"):
        clean_text(piece * count)
