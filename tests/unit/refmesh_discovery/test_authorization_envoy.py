"""What the real Envoy lets through under AuthorizationPolicies, request by request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.kube import eventually
from tests.unit.refmesh_discovery.guarded_envoy import Guarded, Objects, guarded_envoy
from tests.unit.refmesh_discovery.helpers import policy


def rules(*rules: dict[str, Any], action: str = "ALLOW", name: str = "p", **spec: Any) -> tuple[str, dict[str, Any]]:
    return "AuthorizationPolicy", policy(name, {"action": action, "rules": list(rules), **spec})


def to(**operation: Any) -> dict[str, Any]:
    return {"to": [{"operation": operation}]}


def when(key: str, **values: Any) -> dict[str, Any]:
    return {"when": [{"key": key, **values}]}


BANKER, CLERK = "spiffe://cluster.local/ns/bank/sa/clerk", "spiffe://cluster.local/ns/shop/sa/clerk"
NOT_FORMS: list[tuple[str, list[str], dict[str, Any], dict[str, Any]]] = [
    ("notHosts", ["shop.example", "*.internal"], {"host": "shop.example.org"}, {"host": "shop.example"}),
    ("notHosts", ["shop.example", "*.internal"], {"host": "internal"}, {"host": "A.Internal"}),
    ("notPorts", ["8080"], {"port": 8081}, {"port": 8080}),
    ("notMethods", ["POST", "PU*"], {"method": "GET"}, {"method": "POST"}),
    ("notMethods", ["POST", "PU*"], {"method": "PATCH"}, {"method": "PUT"}),
    ("notNamespaces", ["bank"], {"peer": CLERK}, {"peer": BANKER}),
    ("notNamespaces", ["ba*"], {}, {"peer": BANKER}),
    ("notPrincipals", ["cluster.local/ns/bank/sa/clerk"], {"peer": CLERK}, {"peer": BANKER}),
    (
        "notRemoteIpBlocks",
        ["10.1.0.0/16"],
        {"headers": "x-forwarded-for: 10.2.0.1"},
        {"headers": "x-forwarded-for: 10.1.0.1"},
    ),
]
"""A field, what it is given, a request that it says nothing of, and one that it names."""


def not_form(field: str, values: list[str], action: str) -> tuple[str, dict[str, Any]]:
    if field in {"notHosts", "notPorts", "notMethods"}:
        return rules(to(**{field: values}), action=action)
    return rules({"from": [{"source": {field: values}}]}, action=action)


POLICIES: dict[str, Objects] = {
    **{
        f"{action} {field} {values}": [not_form(field, values, action)]
        for field, values, _, _ in NOT_FORMS
        for action in ("ALLOW", "DENY")
    },
    "none": [],
    "nothing allowed": [("AuthorizationPolicy", policy("p", {}))],
    "anything": [rules({})],
    "deny wins": [rules(to(methods=["GET"])), rules(to(paths=["/admin"]), action="DENY", name="d")],
    "deny nothing": [("AuthorizationPolicy", policy("p", {"action": "DENY"}))],
    "audit": [rules({}, action="AUDIT")],
    "audit one path": [rules(to(paths=["/marked"]), action="AUDIT")],
    "elsewhere": [("AuthorizationPolicy", policy("p", {"selector": {"matchLabels": {"app": "other"}}}))],
    "behind the service": [
        ("AuthorizationPolicy", policy("p", {"targetRefs": [{"kind": "Service", "name": "echo"}]})),
    ],
    "behind another service": [
        ("AuthorizationPolicy", policy("p", {"targetRefs": [{"kind": "Service", "name": "other"}]})),
    ],
    "mesh-wide": [("AuthorizationPolicy", policy("p", {}, namespace="refmesh-system"))],
    "other namespace": [("AuthorizationPolicy", policy("p", {}, namespace="bank"))],
    "get only": [rules(to(methods=["GET"]))],
    "allow paths": [rules(to(paths=["/report.v1", "/public/*", "*.css", "/orders/{*}/items", "/deep/{**}/end"]))],
    "not paths": [rules(to(notPaths=["/admin", "/admin/*"]))],
    "deny admin": [rules(to(paths=["/admin", "/admin/*"]), action="DENY")],
    "hosts": [rules(to(hosts=["shop.example", "*.internal"]))],
    "deny host": [rules(to(hosts=["shop.example"]), action="DENY")],
    "deny hosts": [rules(to(hosts=["shop.example", "*.internal", "admin.*", "[::1]", "a:81"]), action="DENY")],
    "not hosts": [rules(to(notHosts=["shop.example", "*.internal", "admin.*", "[::1]", "a:81"]))],
    "hosts at any port": [rules(to(hosts=["shop.example", "shop.example:*", "*.internal", "*.internal:80"]))],
    "deny hosts at any port": [rules(to(hosts=["shop.example", "shop.example:*", "b:*"]), action="DENY")],
    "this port": [rules(to(ports=["8080"]))],
    "header": [rules(when("request.headers[x-role]", values=["admin"]))],
    "not header": [rules(when("request.headers[x-role]", notValues=["guest"]))],
    "deny header": [rules(when("request.headers[x-role]", values=["guest"]), action="DENY")],
    "deny header prefix": [rules(when("request.headers[x-role]", values=["gu*"]), action="DENY")],
    "header there": [rules(when("request.headers[x-role]", values=["*"]))],
    "loopback": [rules({"from": [{"source": {"ipBlocks": ["127.0.0.0/8"]}}]})],
    "not loopback": [rules({"from": [{"source": {"notIpBlocks": ["127.0.0.1"]}}]})],
    "peer": [rules({"from": [{"source": {"principals": ["*"]}}]})],
    "no peer": [rules({"from": [{"source": {"notPrincipals": ["cluster.local/ns/a/sa/b"]}}]})],
    "unreadable allow": [rules(when("request.nothing", values=["x"])), rules(to(methods=["GET"]), name="q")],
    "unreadable deny": [rules(when("request.nothing", values=["x"]), action="DENY")],
    "unreadable elsewhere": [
        rules(when("request.nothing", values=["x"]), action="DENY", selector={"matchLabels": {"app": "other"}})
    ],
    "unknown action": [rules(action="CUSTOM", provider={"name": "x"})],
    "token": [rules({"from": [{"source": {"requestPrincipals": ["*"]}}]})],
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_envoy(POLICIES, tmp_path_factory.mktemp("envoy")) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("none", True),
        ("nothing allowed", False),
        ("anything", True),
        ("deny nothing", True),
        ("audit", True),
        ("elsewhere", True),
        ("behind the service", False),
        ("behind another service", True),
        ("mesh-wide", False),
        ("other namespace", True),
        ("loopback", True),
        ("not loopback", False),
        ("peer", False),
        ("no peer", True),
        ("unreadable allow", True),
        ("unreadable deny", False),
        ("unreadable elsewhere", True),
        ("unknown action", False),
        ("this port", False),  # Envoy's own port, which is not 8080
        ("token", False),
    ],
)
def test_a_plain_request(proxy: Guarded, name: str, allowed: bool) -> None:
    assert proxy.allows(name) is allowed


def test_the_port_is_that_which_the_client_meant(proxy: Guarded) -> None:
    assert proxy.allows("this port", port=8080)
    assert not proxy.allows("this port", port=8081)


def test_an_unreadable_allow_policy_grants_nothing_and_takes_nothing_from_others(proxy: Guarded) -> None:
    assert proxy.allows("unreadable allow", method="GET")
    assert not proxy.allows("unreadable allow", method="POST")


def test_deny_is_asked_first(proxy: Guarded) -> None:
    assert proxy.allows("deny wins")
    assert not proxy.allows("deny wins", "/admin")
    assert not proxy.allows("deny wins", method="POST")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/report.v1", True),
        ("/report.v1?x=1", True),
        ("/reportxv1", False),
        ("/report.v1/x", False),
        ("/Report.v1", False),
        ("/public/", True),
        ("/public/a/b", True),
        ("/public", False),
        ("/publicity", False),
        ("/public/../admin", False),
        ("/public/..%2Fadmin", False),
        ("/public/..%5Cadmin", False),
        ("/public/..;/admin", False),
        ("/public/..;x=1/admin", False),
        ("/public/%2e%2e;/admin", False),
        ("/public/%2e%2e/admin", False),
        ("/public/a;x=1/b", True),
        ("/style.css", True),
        ("/admin?x=.css", False),
        ("/orders/7/items", True),
        ("/orders/7/8/items", False),
        ("/orders//items", False),
        ("/deep/a/b/end", True),
    ],
)
def test_allowed_paths(proxy: Guarded, path: str, allowed: bool) -> None:
    assert proxy.allows("allow paths", path) is allowed


SPELLINGS = [
    "/admin",
    "//admin",
    "///admin",
    "/./admin",
    "/x/../admin",
    "/admin?x",
    "/%61dmin",
    "/%2Fadmin",
    "/%2fadmin",
    "/%5Cadmin",
    "/%5cadmin",
    "\\admin",
    "/\\admin",
    "/x/..\\admin",
    "/x/..%2Fadmin",
    "/x/%2e%2e/admin",
    "/admin/x",
    "/admin//x",
    "/admin%2Fx",
    "/admin;x=1",
    "/admin;x=1/y",
    "/;a/admin",
    "/.;/admin",
    "/x/..;/admin",
    "/x/..;a=b/admin",
]


@pytest.mark.parametrize("path", SPELLINGS)
@pytest.mark.parametrize("name", ["deny admin", "not paths"])
def test_no_spelling_of_a_closed_path_gets_through(proxy: Guarded, name: str, path: str) -> None:
    assert proxy.ask(name, path).status in {400, 403, 404}


@pytest.mark.parametrize("name", ["deny admin", "not paths"])
def test_a_fragment_is_no_way_round(proxy: Guarded, name: str) -> None:
    assert proxy.ask(name, "/admin#x").status == 400


@pytest.mark.parametrize("path", ["/", "/a/b", "/administrator", "/x/admin", "/a;b/c", "/a?b=/../admin"])
@pytest.mark.parametrize("name", ["deny admin", "not paths"])
def test_other_paths_get_through(proxy: Guarded, name: str, path: str) -> None:
    assert proxy.allows(name, path)


def test_paths_are_left_alone_where_no_policy_names_them(proxy: Guarded) -> None:
    assert proxy.ask("none", "/a//b%2Fc").path == "/a//b%2Fc"
    assert proxy.ask("allow paths", "/public//b%2Fc").path == "/public/b/c"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("shop.example", True), ("SHOP.Example", True), ("x.internal", True), ("shopxexample", False), ("a", False)],
)
def test_hosts_match_in_any_case(proxy: Guarded, host: str, allowed: bool) -> None:
    assert proxy.allows("hosts", host=host) is allowed
    if host.lower() == "shop.example":
        assert not proxy.allows("deny host", host=host)


@pytest.mark.parametrize(
    "host",
    [
        "shop.example",
        "shop.example:80",
        "Shop.Example:8080",
        "shop.example.",
        "shop.example.:80",
        "shop.example:",
        "x.internal:80",
        "X.Internal.",
        "admin.example:80",
        "[::1]:80",
        "a:81",
        "A.:81",
    ],
)
@pytest.mark.parametrize("name", ["deny hosts", "not hosts"])
def test_a_host_is_kept_out_with_any_port_and_with_a_dot_behind_its_name(proxy: Guarded, name: str, host: str) -> None:
    assert not proxy.allows(name, host=host)


@pytest.mark.parametrize("host", ["shop.example.org", "myshop.example:80", "shopxexample", "internal:80", "a", "a:82"])
@pytest.mark.parametrize("name", ["deny hosts", "not hosts"])
def test_other_hosts_get_through(proxy: Guarded, name: str, host: str) -> None:
    assert proxy.allows(name, host=host)


@pytest.mark.parametrize(
    ("host", "named"),
    [("shop.example", True), ("shop.example:80", True), ("x.internal:80", True), ("x.internal:81", False)],
)
def test_hosts_with_ports_of_their_own_hold_as_istio_documents_them(proxy: Guarded, host: str, *, named: bool) -> None:
    assert proxy.allows("hosts at any port", host=host) is named
    assert proxy.allows("deny hosts at any port", host=host) is not host.startswith("shop")
    # A name alone lets in no other port than the one that goes without saying.
    assert proxy.allows("hosts", host=host) is (":" not in host)
    assert not proxy.allows("deny hosts at any port", host="b:80")


@pytest.mark.parametrize(
    ("headers", "allow", "not_guest", "deny_guest", "deny_prefix"),
    [
        ("", False, True, True, True),
        ("x-role: admin", True, True, True, True),
        ("x-role: guest", False, False, False, False),
        ("X-ROLE: guest", False, False, False, False),
        ("x-role: admin\nx-role: guest", False, False, False, False),
        ("x-role: guest\nx-role: admin", False, False, False, False),
        ("x-role: admin, guest", False, False, False, False),
        ("x-role: guests", False, True, True, False),
        ("x-role: noguest", False, True, True, True),
    ],
)
def test_headers(
    proxy: Guarded, headers: str, allow: bool, not_guest: bool, deny_guest: bool, deny_prefix: bool
) -> None:
    found = [
        proxy.allows(name, headers=headers) for name in ("header", "not header", "deny header", "deny header prefix")
    ]
    assert found == [allow, not_guest, deny_guest, deny_prefix]
    assert proxy.allows("header there", headers=headers) is bool(headers)


@pytest.mark.parametrize(("field", "values", "other", "named"), NOT_FORMS)
def test_a_not_form_speaks_of_all_but_what_it_names(
    proxy: Guarded, field: str, values: list[str], other: dict[str, Any], named: dict[str, Any]
) -> None:
    allow, deny = (f"{action} {field} {values}" for action in ("ALLOW", "DENY"))
    assert (proxy.allows(allow, **other), proxy.allows(allow, **named)) == (True, False)
    assert (proxy.allows(deny, **other), proxy.allows(deny, **named)) == (False, True)


def test_an_audit_policy_marks_the_access_log_and_nothing_else(proxy: Guarded) -> None:
    for path in ("/marked", "/unmarked"):
        assert proxy.allows("audit one path", path)

    def marks() -> dict[str, Any]:
        lines = [json.loads(line) for line in proxy.log.read_text().splitlines() if line.startswith("{")]
        return {line["path"]: line["audit"] for line in lines if line["path"] in {"/marked", "/unmarked"}}

    assert eventually(lambda: len(marks()) == 2, timeout=10, what="both requests are in the log")
    assert marks() == {"/marked": True, "/unmarked": False}
