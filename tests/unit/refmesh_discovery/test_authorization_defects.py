"""Each defect of authorization lets the real Envoy do the one wrong thing that it is named for; no sound mesh does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from conformance.checks.authorization_paths import LENIENT, SPELLINGS
from conformance.tokens import Issuer
from refmesh import defects
from refmesh.defects.registry import seam
from refmesh.injector import containers
from tests.unit.refmesh_discovery.guarded_envoy import Guarded, Objects, envoy_with, listener
from tests.unit.refmesh_discovery.helpers import policy

ISSUER = Issuer()
EXPIRED = ISSUER.token({"iss": "x", "sub": "y", "exp": int(time.time()) - 3600})


def authorization(action: str, *rules: dict[str, Any], name: str = "p") -> tuple[str, dict[str, Any]]:
    return "AuthorizationPolicy", policy(name, {"action": action, "rules": list(rules)})


def to(**operation: Any) -> dict[str, Any]:
    return {"to": [{"operation": operation}]}


def role(value: str) -> dict[str, Any]:
    return {"when": [{"key": "request.headers[x-role]", "values": [value]}]}


CLOSED = to(paths=["/closed", "/closed/*"])
CASES: dict[str, tuple[Objects, dict[str, Any]]] = {
    "deny-after-allow": (
        [authorization("ALLOW", {}), authorization("DENY", CLOSED, name="d")],
        {"path": "/closed"},
    ),
    "empty-rules-allow-all": ([("AuthorizationPolicy", policy("p", {}))], {}),
    "dot-segments-kept": ([authorization("DENY", CLOSED)], {"path": "/open/../closed"}),
    "slashes-not-merged": ([authorization("DENY", CLOSED)], {"path": "//closed"}),
    "escaped-slashes-kept": ([authorization("DENY", CLOSED)], {"path": "/open/..%2fclosed"}),
    "path-parameters-compared": ([authorization("DENY", CLOSED)], {"path": "/closed;x=1"}),
    "host-case-compared": ([authorization("DENY", to(hosts=["closed.example"]))], {"host": "CLOSED.EXAMPLE"}),
    "repeated-header-joined": ([authorization("DENY", role("guest"))], {"headers": "x-role: guest\nx-role: member"}),
    "dot-as-regex": ([authorization("ALLOW", to(paths=["/report.v1"]))], {"path": "/reportxv1"}),
    "invalid-object-accepted": (
        [authorization("ALLOW", {"when": [{"key": "request.unheard-of", "values": ["x"]}]})],
        {},
    ),
    "policy-port-ignored": ([authorization("ALLOW", to(ports=["1"]))], {}),
    "token-expiry-unchecked": (
        [
            ("RequestAuthentication", policy("t", {"jwtRules": [{"issuer": "x", "jwks": ISSUER.key_set()}]})),
            authorization("ALLOW", {"from": [{"source": {"requestPrincipals": ["*"]}}]}),
        ],
        {"headers": f"authorization: Bearer {EXPIRED}"},
    ),
}


NO_LENIENCE = ("slashes-not-merged", "escaped-slashes-kept", "path-parameters-compared")
"""What these three leave of a path is what Istio's default (BASE) does, but for `..;`, which refmesh always refuses."""


def with_defects(called: str, objects: Objects, names: Sequence[str]) -> dict[str, Any]:
    """The listener that a mesh with these defects makes of the objects; the sound functions are put back."""
    with ExitStack() as stack:
        for name in names:
            (defect,) = [item for item in defects.catalogue() if item.name == name]
            owner, function = seam(defect)
            stack.callback(setattr, owner, function, getattr(owner, function))
            defects.switch_on(name)
        return listener(called, objects)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = [
        make
        for name, (objects, _) in CASES.items()
        for make in (listener(name, objects), with_defects(f"{name} (defect)", objects, [name]))
    ]
    made.append(with_defects("by RFC 3986", [authorization("DENY", CLOSED)], NO_LENIENCE))
    with envoy_with(made, tmp_path_factory.mktemp("envoy")) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_only_the_defect_lets_it_through(proxy: Guarded, name: str) -> None:
    request = CASES[name][1]
    assert proxy.ask(name, **request).status in {401, 403}
    assert proxy.ask(f"{name} (defect)", **request).status == 200


@pytest.mark.parametrize("path", [*SPELLINGS, *LENIENT])
def test_what_rfc_3986_makes_equal_is_refused_without_lenience_and_the_rest_with_it(proxy: Guarded, path: str) -> None:
    refused = {400, 403}
    assert proxy.ask("slashes-not-merged", path).status in refused
    assert (proxy.ask("by RFC 3986", path).status in refused) is (path in SPELLINGS or "..;" in path)


def test_the_other_defects_do_what_they_say() -> None:
    from refmesh.discovery import matchers

    found = {item.name: item for item in defects.catalogue()}
    broken = found["namespace-by-prefix"].make(matchers.namespace_identity)
    assert broken("shop") == matchers.namespace_identity("shop*")
    broken = found["account-ignored"].make(matchers.principal_identity)
    assert broken("cluster.local/ns/shop/sa/web", "example.org").prefix == "spiffe://example.org/ns/shop/sa/"
    assert broken("*", "example.org") == matchers.principal_identity("*", "example.org")
    broken = found["allowed-identity-refused"].make(matchers.principal_identity)
    assert broken("cluster.local/ns/shop/sa/web", "example.org").exact != "spiffe://example.org/ns/shop/sa/web"
    tuning = found["rights-kept-by-open-connections"].make(containers.tuning)
    ever = {"name": "REFMESH_LISTENER_DRAIN_SECONDS", "value": "3600"}
    assert tuning({"proxy.refmesh.io/listenerDrainSeconds": "3"}) == [ever]


def test_every_defect_of_authorization_is_tried_here() -> None:
    named = {item.name for item in defects.catalogue() if item.seam and item.capability == "authorization"}
    others = {"account-ignored", "allowed-identity-refused", "namespace-by-prefix", "rights-kept-by-open-connections"}
    assert named == {*CASES, *others}
