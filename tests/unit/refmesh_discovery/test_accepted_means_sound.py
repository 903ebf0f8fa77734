"""What the parsers accept, Envoy accepts: an object with odd texts in it is rejected early or works, never NACKed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy, service
from tests.unit.refmesh_discovery.test_envoy_accepts import static_bootstrap
from tests.unit.refmesh_discovery.validating import complaint

ODD = [
    "a", "/", "/a", "/a/", "//", "/%zz", "/a b", "é",
    "x\ny", "\x01", "%", "%REQ(x)%", "a" * 300, "*", "{", "/{x}", "\\",
    "%PROTOCOL:5%", "%START_TIME:3%", "%REQ(x):12%", "%REQ(x):99999999999999999999999%", "%REQ(x):\u0664%",
    "\\1", "/a?b", "/a#b", ":method", "Host", "x-ok", "x y", "", "0", "https", "1s",
]  # fmt: skip
PARAMETERS = [*ODD, "q" * 1024, "q" * 1025, "é" * 513]
REGEXES = [
    "a", ".*", "^/a$", "(a)\\1", "(?=a)", "(?!a)b", "(?<=a)b", "(?<!a)b", "(?P<n>a)", "(?P<n>a)(?P=n)", "(?>a)", "a++",
    "a*+",     "a{2000}", "a{1,2000}", "[a++]", "\\++", "[(?=]", "\\(?=a", "(?i)a", "(?x)a", "(?:a|b)", "a{2}", "a{2,}",
    "\\d+", "\\Z", "\\bx",     "(?#c)a", "\\u0041", "[]a]", "a|",
    "()", "((((a))))",
    "/[a-z]{500}", "(a{1,30}){1,30}", "(a{100}){100}", "\\pL{90}", "(?<n>a)",
    "(a*)*", "\\x41", "[[:alpha:]]", "(?a)x", "(?-i:a)",
]  # fmt: skip
PATHS = ["/a.pem", "/a b/é.pem", "a.pem", "/", "/a/../b", "/a~b", "/" + "a" * 1024, "", "system", "/x\ny"]


MANY = {f"x-{number}": "1" for number in range(1001)}
MOST = {name: MANY[name] for name in list(MANY)[1:]}


DURATIONS = ["0s", "1ns", "1ms", "1s", "8000h"]


def text_match(dice: random.Random) -> dict[str, str]:
    kind = dice.choice(["exact", "prefix", "regex"])
    return {kind: dice.choice(REGEXES if kind == "regex" else ODD)}


def headers(dice: random.Random) -> dict[str, Any]:
    """A header now and then, and seldom as many as Envoy takes, or one more."""
    if dice.random() < 0.01:
        return dice.choice([MANY, MOST])
    return {dice.choice([*ODD, ":authority"]): dice.choice(ODD)} if dice.random() < 0.3 else {}


def virtual_service(dice: random.Random, host: str) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "match": [
            {
                "uri": text_match(dice),
                "scheme": text_match(dice) if dice.random() < 0.2 else None,
                "headers": {dice.choice(ODD): text_match(dice)} if dice.random() < 0.4 else {},
                "queryParams": {dice.choice(PARAMETERS): text_match(dice)} if dice.random() < 0.4 else {},
            }
        ],
        "headers": {"request": {"set": headers(dice), "add": headers(dice)}, "response": {"set": headers(dice)}},
    }
    if dice.random() < 0.3:
        rule["redirect"] = {"uri": dice.choice(ODD), "authority": dice.choice(ODD), "scheme": dice.choice(ODD)}
    else:
        changes = {"request": {"set": headers(dice)}, "response": {"add": headers(dice)}}
        rule["route"] = [{"destination": {"host": host}, "headers": changes}]
        if dice.random() < 0.5:
            pattern = {"match": dice.choice(REGEXES), "rewrite": dice.choice(ODD)}
            rule["rewrite"] = {"authority": dice.choice(ODD)}
            rule["rewrite"] |= dice.choice([{"uri": dice.choice(ODD)}, {"uriRegexRewrite": pattern}])
        if dice.random() < 0.5:
            rule["retries"] = {"attempts": dice.randrange(4), "retryOn": dice.choice([*ODD, "5xx", "503"])}
        if dice.random() < 0.3:
            rule["retries"] = {"perTryTimeout": dice.choice(DURATIONS)}
        if dice.random() < 0.3:
            rule["fault"] = {"delay": {"fixedDelay": dice.choice(DURATIONS), "percent": dice.choice([0, 7])}}
            rule["timeout"], rule["corsPolicy"] = dice.choice(DURATIONS), {"maxAge": dice.choice(DURATIONS)}
    return policy(host, {"hosts": [host], "http": [rule]})


def http_route(dice: random.Random, host: str) -> dict[str, Any]:
    kind = dice.choice(["Exact", "PathPrefix", "RegularExpression"])
    named = {"name": dice.choice(PARAMETERS), "type": "RegularExpression", "value": dice.choice(REGEXES)}
    change = dice.choice(
        [
            {"type": "ReplaceFullPath", "replaceFullPath": dice.choice(ODD)},
            {"type": "ReplacePrefixMatch", "replacePrefixMatch": dice.choice(ODD)},
        ]
    )
    filters: list[dict[str, Any]] = [
        {"type": "URLRewrite", "urlRewrite": {"hostname": dice.choice(ODD), "path": change}},
        {"type": "RequestRedirect", "requestRedirect": {"hostname": dice.choice(ODD), "path": change}},
    ]
    rule = {
        "matches": [
            {
                "path": {"type": kind, "value": dice.choice(REGEXES if kind == "RegularExpression" else ODD)},
                "headers": [named] if dice.random() < 0.3 else [],
                "queryParams": [named] if dice.random() < 0.3 else [],
            }
        ],
        "filters": [dice.choice(filters)] if dice.random() < 0.5 else [],
        "backendRefs": [{"name": host, "port": 80}],
    }
    return policy(host, {"parentRefs": [{"group": "", "kind": "Service", "name": host}], "rules": [rule]})


def destination_rule(dice: random.Random, host: str) -> dict[str, Any]:
    tls: dict[str, Any] = {"mode": dice.choice(["SIMPLE", "SIMPLE", "MUTUAL"])}
    texts = {"sni": ODD, "caCertificates": PATHS, "clientCertificate": PATHS, "privateKey": PATHS}
    for name, values in texts.items():
        if dice.random() < (0.8 if tls["mode"] == "MUTUAL" else 0.3):
            tls[name] = dice.choice(values)
    if dice.random() < 0.4:
        tls["subjectAltNames"] = dice.sample(ODD, 2)
    if dice.random() < 0.3:
        tls["insecureSkipVerify"] = True
    return policy(host, {"host": host, "trafficPolicy": {"tls": tls, **limits(dice)}})


def limits(dice: random.Random) -> dict[str, Any]:
    """Settings with times in them, mostly none."""
    if dice.random() < 0.7:
        return {}
    times, longer = iter(dice.choices(DURATIONS, k=8)), iter(dice.choices(DURATIONS[2:], k=3))
    tcp = {"connectTimeout": next(times), "idleTimeout": next(times), "maxConnectionDuration": next(longer)}
    http: dict[str, Any] = {"idleTimeout": next(times), "h2UpgradePolicy": dice.choice(["UPGRADE", "DEFAULT"])}
    if dice.random() < 0.5:
        http["http2KeepAlive"] = {"interval": next(longer), "timeout": next(longer)}
    return {
        "connectionPool": {"tcp": tcp, "http": http},
        "outlierDetection": {"interval": next(times), "baseEjectionTime": next(times)},
        "loadBalancer": dice.choice(
            [
                {"warmupDurationSecs": next(times)},
                {"consistentHash": {"httpCookie": {"name": "c", "ttl": next(times)}}},
            ]
        ),
    }


@pytest.mark.parametrize("seed", range(3))
def test_envoy_takes_whatever_the_parsers_accept(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    cluster = MemoryCluster().with_echo()
    for index in range(400):
        host = f"s{index}"
        cluster.put("Service", service(host, f"10.8.{index // 250}.{index % 250 + 1}", ports={"http": (80, 8080)}))
        if dice.random() < 0.5:
            cluster.put("VirtualService", virtual_service(dice, host))
        else:
            cluster.put("HTTPRoute", http_route(dice, host))
        cluster.put("DestinationRule", destination_rule(dice, host))
    snapshot = cluster.snapshot()
    accepted = len(snapshot.virtual_services) + len(snapshot.http_routes)
    assert accepted > 40
    # What stands in for those that cannot be read must be sound as well.
    assert len(snapshot.destination_rules) == 400
    assert 40 < sum(kind == "DestinationRule" for kind, _, _ in snapshot.rejected) < 360
    assert len(snapshot.rejected) > 40
    assert not complaint(static_bootstrap(cluster), tmp_path)
