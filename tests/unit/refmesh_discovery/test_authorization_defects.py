"""Each defect of authorization lets the real Envoy do the one wrong thing that it is named for; no sound mesh does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

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


def with_defect(name: str, objects: Objects) -> dict[str, Any]:
    """The listener that a mesh with this defect makes of the objects; the sound functions are put back."""
    (defect,) = [item for item in defects.catalogue() if item.name == name]
    owner, function = seam(defect)
    sound = getattr(owner, function)
    defects.switch_on(name)
    try:
        return listener(f"{name} (defect)", objects)
    finally:
        setattr(owner, function, sound)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = [
        make for name, (objects, _) in CASES.items() for make in (listener(name, objects), with_defect(name, objects))
    ]
    with envoy_with(made, tmp_path_factory.mktemp("envoy")) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_only_the_defect_lets_it_through(proxy: Guarded, name: str) -> None:
    request = CASES[name][1]
    assert proxy.ask(name, **request).status in {401, 403}
    assert proxy.ask(f"{name} (defect)", **request).status == 200


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
    assert tuning({"proxy.refmesh.io/drainSeconds": "3"}) == [{"name": "REFMESH_DRAIN_SECONDS", "value": "3600"}]


def test_every_defect_of_authorization_is_tried_here() -> None:
    named = {item.name for item in defects.catalogue() if item.seam and item.capability == "authorization"}
    others = {"account-ignored", "allowed-identity-refused", "namespace-by-prefix", "rights-kept-by-open-connections"}
    assert named == {*CASES, *others}
