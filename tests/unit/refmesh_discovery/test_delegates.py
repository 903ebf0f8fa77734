"""VirtualServices that delegate, and those that are not exported to everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from refmesh.api.fields import Invalid
from refmesh.api.routing import Match, NamedMatch, TextMatch
from refmesh.api.virtual_service import VirtualService
from refmesh.config import delegates
from refmesh.config.delegates import conjoined
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, message_of, pod, policy
from tests.unit.refmesh_discovery.test_envoy_accepts import static_bootstrap
from tests.unit.refmesh_discovery.test_standings import judged, said
from tests.unit.refmesh_discovery.validating import complaint

ECHO = "echo.shop.svc.cluster.local"
TO_ECHO = [{"destination": {"host": ECHO, "port": {"number": 80}}}]
TO_TCP = [{"destination": {"host": ECHO, "port": {"number": 70}}}]


def root(*http: Any, **spec: Any) -> dict[str, Any]:
    return policy("root", {"hosts": [ECHO], "http": list(http), **spec})


def delegating(prefix: str, **more: Any) -> dict[str, Any]:
    return {"match": [{"uri": {"prefix": prefix}}], "delegate": {"name": "d", "namespace": "team"}, **more}


def delegate(*http: Any, **spec: Any) -> dict[str, Any]:
    return policy("d", {"http": list(http), **spec}, namespace="team")


def routes(cluster: MemoryCluster, namespace: str = "shop") -> Any:
    item = cluster.world().tables(namespace)[ResourceType.ROUTE][f"{ECHO}:80"]
    return message_of(item, ResourceType.ROUTE).virtual_hosts[0].routes


def with_both(written: dict[str, Any], to: dict[str, Any] | None) -> MemoryCluster:
    cluster = MemoryCluster().with_echo().put("VirtualService", written)
    return cluster.put("VirtualService", to) if to is not None else cluster


def test_the_delegate_s_rules_stand_in_the_place_of_the_one_that_names_it(tmp_path: Path) -> None:
    own = {"match": [{"uri": {"prefix": "/team/new"}, "method": {"exact": "GET"}}], "name": "new", "route": TO_TCP}
    rest = {"route": TO_ECHO, "timeout": "3s"}
    last = {"route": [{"destination": {"host": "last"}}]}
    cluster = with_both(root(delegating("/team", name="team", timeout="9s"), last), delegate(own, rest))
    found = routes(cluster)
    assert [route.name for route in found] == ["team-new", "team", ""]
    assert [route.match.prefix for route in found[:2]] == ["/team/new", "/team"]
    assert [route.route.timeout.seconds for route in found[:2]] == [9, 3]
    assert found[0].route.cluster == f"outbound|70||{ECHO}"
    assert found[2].route.cluster.endswith("last.shop.svc.cluster.local")
    assert [header.name for header in found[0].match.headers] == [":method"]
    assert not judged(cluster, "VirtualService", "d", "team").findings
    assert not complaint(static_bootstrap(cluster), tmp_path)


@pytest.mark.parametrize(
    ("to", "reason", "words"),
    [
        (None, "DelegateNotFound", "there is no VirtualService team/d"),
        (policy("d", {"hosts": ["x"], "http": [{"route": TO_ECHO}]}, namespace="team"), "DelegateNotFound", "team/d"),
        (delegate({"route": TO_ECHO}, exportTo=["."]), "DelegateNotFound", "not exported to namespace shop"),
        (
            delegate({"match": [{"uri": {"prefix": "/other"}}], "route": TO_ECHO}),
            "DelegateConflict",
            "spec.http[0] of VirtualService team/d asks in match[0] for requests that the rule which delegates",
        ),
        (delegate({"match": [{"uri": {"regex": "/team/.*"}}], "route": TO_ECHO}), "DelegateConflict", "match[0]"),
    ],
)
def test_a_delegate_that_cannot_stand_in_leaves_its_rule_out_and_the_root_says_why(
    to: dict[str, Any] | None, reason: str, words: str
) -> None:
    cluster = with_both(root(delegating("/team"), {"route": TO_TCP}), to)
    assert len(routes(cluster)) == 1
    (problem,) = judged(cluster, "VirtualService", "root").notes
    assert problem.reason == reason
    assert words in problem.message
    alone = with_both(root(delegating("/team")), to)
    assert said(judged(alone, "VirtualService", "root"))["Accepted"] == ("False", reason)
    assert len(routes(alone)) == 1


def test_a_delegate_that_nobody_names_is_not_in_force() -> None:
    cluster = with_both(root({"route": TO_ECHO}), delegate({"route": TO_ECHO}))
    assert said(judged(cluster, "VirtualService", "d", "team"))["Accepted"] == ("False", "NotDelegated")


def test_a_few_lines_cannot_ask_for_a_million_routes() -> None:
    many = [{"match": [{"uri": {"prefix": f"/team/{n}"}}], "route": TO_ECHO} for n in range(60)]
    cluster = with_both(root(*[delegating("/team") for _ in range(20)]), delegate(*many))
    assert len(routes(cluster)) == 1024
    assert any("matches in all" in note.message for note in judged(cluster, "VirtualService", "root").notes)
    costly = [{"match": [{"uri": {"prefix": "/"}, "headers": {"a": {"regex": "a{900}"}}}], "route": TO_ECHO}] * 5
    cluster = with_both(root(*[{"delegate": {"name": "d", "namespace": "team"}} for _ in range(40)]), delegate(*costly))
    assert any("expressions of an object" in note.message for note in judged(cluster, "VirtualService", "root").notes)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every merge that is made from now on."""
    calls, merged = [], delegates._merged

    def merge(*rules: Any) -> Any:
        calls.append(rules)
        return merged(*rules)

    monkeypatch.setattr(delegates, "_merged", merge)
    return calls


def test_what_is_too_much_is_paid_for_before_it_is_made_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    many = [{"match": [{"uri": {"prefix": f"/team/{n}"}}], "route": TO_ECHO} for n in range(100)]
    cluster = with_both(root(*[delegating("/team") for _ in range(40)]), delegate(*many))
    assert len(judged(cluster, "VirtualService", "root").notes) == 1
    assert len(calls) == 1024
    # A pair of rules with many matches each is not even begun.
    calls.clear()
    wide = {"match": [{"uri": {"prefix": f"/team/{n}"}} for n in range(100)], "route": TO_ECHO}
    cluster = with_both(root({**delegating("/"), "match": wide["match"]}), delegate(wide))
    assert "is too much" in judged(cluster, "VirtualService", "root").blocked[0].message
    assert not calls
    # Neither is the work for rules that do not fit, nor what is said of them, without bound.
    odd = [{"match": [{"uri": {"prefix": f"/other/{n}"}}], "route": TO_ECHO} for n in range(100)]
    cluster = with_both(root(*[delegating("/team") for _ in range(40)], {"route": TO_ECHO}), delegate(*odd))
    notes = judged(cluster, "VirtualService", "root").notes
    assert len(notes) == 17
    assert notes[-1].message == f"and {1024 + 1 - 16} more rules of delegates are not in force"
    assert len(calls) == 1024


def test_what_a_rule_says_is_not_repeated_until_it_fills_the_proxies() -> None:
    headers = {"headers": {"request": {"set": {f"x{n}": "y" * 10_000 for n in range(10)}}}}
    many = [{"match": [{"uri": {"prefix": f"/team/{n}"}}], "route": TO_ECHO} for n in range(100)]
    cluster = with_both(root(delegating("/team", **headers)), delegate(*many))
    assert len(routes(cluster)) == 10
    assert "bytes" in judged(cluster, "VirtualService", "root").notes[0].message
    # A namespace's objects have no more of it all together than a few of them.
    for n in range(8):
        spec = {"hosts": [f"h{n}.example.com"], "http": [delegating("/team", **headers)]}
        cluster.put("VirtualService", policy(f"z{n}", spec))
    made = delegates.delegated(cluster.snapshot().virtual_services).virtual_services.values()
    assert 30 <= sum(len(item.rules) for item in made) <= 42


def test_a_large_delegate_takes_nothing_from_another() -> None:
    many = [{"match": [{"uri": {"prefix": f"/{n}"}}], "route": TO_ECHO} for n in range(2000)]
    costly = {"match": [{"uri": {"prefix": "/b"}, "headers": {"a": {"regex": "a{900}"}}}], "route": TO_ECHO}
    naming = [{"delegate": {"name": name, "namespace": "team"}} for name in ("d", "costly", "small")]
    small = policy("small", {"http": [costly, {"route": TO_TCP}]}, namespace="team")
    cluster = with_both(root(*naming), delegate(*many)).put("VirtualService", small)
    cluster.put("VirtualService", policy("costly", {"http": [costly] * 200}, namespace="team"))
    assert routes(cluster)[-1].route.cluster.startswith("outbound|70|")
    assert len(routes(cluster)) < 1024 // 3 + 200
    assert not judged(cluster, "VirtualService", "small", "team").findings
    assert len(judged(cluster, "VirtualService", "root").notes) == 2


def test_a_delegate_says_which_of_its_rules_are_not_in_force_and_nothing_of_a_stranger_s() -> None:
    odd = {"match": [{"uri": {"prefix": "/other"}}], "route": TO_ECHO}
    cluster = with_both(root(delegating("/team")), delegate(odd, {"route": TO_ECHO}))
    standing = judged(cluster, "VirtualService", "d", "team")
    assert [(one.reason, one.level) for one in standing.notes] == [("DelegateConflict", "WARNING")]
    assert standing.notes[0].message == "spec.http[0] does not stand in spec.http[0] of VirtualService shop/root"
    cluster.put("VirtualService", delegate(odd))
    assert said(judged(cluster, "VirtualService", "d", "team"))["Accepted"] == ("False", "DelegateConflict")
    own = policy("own", {"hosts": ["a.example.com"], "http": [delegating("/team")]}, namespace="team")
    cluster.drop("VirtualService", "root")
    (problem,) = judged(cluster.put("VirtualService", own), "VirtualService", "d", "team").blocked
    assert (problem.level, "asks in match[0]" in problem.message) == ("ERROR", True)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"http": [{"delegate": {"name": "x"}}]}, r"spec\.http\[0\]\.delegate: cannot stand in a delegate"),
        ({"http": [{"route": TO_ECHO}], "gateways": ["g"]}, r"spec\.gateways: is nothing that a delegate has"),
        ({"http": [{"route": TO_ECHO}], "tcp": [{"route": TO_ECHO}]}, r"spec\.tcp: is nothing"),
        ({"http": [{"route": TO_ECHO, "match": [{"sourceNamespace": "a"}]}]}, r"match\[0\]\.sourceNamespace: is for"),
        ({"hosts": ["a"], "http": [{"route": TO_ECHO, "delegate": {"name": "x"}}]}, "cannot stand beside route"),
        ({"hosts": ["a"], "http": [{"redirect": {}, "delegate": {"name": "x"}}]}, "cannot stand beside redirect"),
        ({"hosts": ["a"], "http": [{"delegate": {}}]}, r"delegate\.name: is required"),
        ({"hosts": ["a"], "http": [{"route": TO_ECHO}], "exportTo": ["A b"]}, r"exportTo\[0\]: must be"),
        ({"hosts": ["a"], "http": [{"route": TO_ECHO}], "exportTo": [f"n{n}" for n in range(33)]}, "more than 32"),
    ],
)
def test_mistakes_are_named(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        VirtualService.parse(policy("x", spec), "cluster.local")


# ------------------------------------------------------------------------------------------------------- conjunction
_PATHS, _VALUES = ("/", "/a", "/a/", "/a/b", "/A/b", "/b"), ("1", "12", "2")
paths = st.builds(TextMatch, st.sampled_from(["exact", "prefix"]), st.sampled_from(_PATHS), st.booleans())
values = st.one_of(
    st.builds(TextMatch, st.sampled_from(["exact", "prefix"]), st.sampled_from(_VALUES)), st.just(TextMatch("present"))
)
named = st.builds(NamedMatch, st.sampled_from(["x", "y"]), values, st.booleans())
a_match = st.builds(
    Match,
    path=st.none() | paths,
    headers=st.lists(named, max_size=2, unique_by=lambda item: (item.name, item.invert)).map(tuple),
    port=st.sampled_from([None, 80, 90]),
)
some = st.lists(a_match, max_size=3).map(tuple)
requests = st.tuples(
    st.sampled_from([*_PATHS, "/a/b/c", "/ab"]),
    st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([*_VALUES, "123", ""])),
    st.sampled_from([80, 90]),
)


def text_holds(match: TextMatch, text: str) -> bool:
    value = match.value
    if match.ignore_case:
        text, value = text.lower(), value.lower()
    return {"present": True, "exact": text == value, "prefix": text.startswith(value)}[match.kind]


def holds(matches: tuple[Match, ...], request: tuple[str, dict[str, str], int]) -> bool:
    path, headers, port = request
    return not matches or any(
        (match.path is None or text_holds(match.path, path))
        and match.port in {None, port}
        and all(
            (item.name in headers and text_holds(item.match, headers[item.name])) is not item.invert
            for item in match.headers
        )
        for match in matches
    )


@given(some, some, st.lists(requests, min_size=1, max_size=8))
@example((Match(path=TextMatch("prefix", "/a")),), (Match(path=TextMatch("exact", "/a/b")),), [("/a/b", {}, 80)])
def test_merged_matches_hold_exactly_where_both_did(
    outer: tuple[Match, ...], inner: tuple[Match, ...], asked: list[tuple[str, dict[str, str], int]]
) -> None:
    try:
        merged = conjoined(outer, inner)
    except ValueError:
        reject()
    assert merged or not (outer or inner)
    for request in asked:
        assert holds(merged, request) is (holds(outer, request) and holds(inner, request))


# ----------------------------------------------------------------------------------------------------------- exportTo
def exporting(name: str, to: list[str], target: Any, namespace: str = "shop", created: str = "") -> dict[str, Any]:
    spec = {"hosts": [ECHO], "exportTo": to, "http": [{"route": target}]}
    return policy(name, spec, namespace, **({"created": created} if created else {}))


def three_namespaces() -> MemoryCluster:
    cluster = MemoryCluster().with_echo()
    for namespace in ("far", "other"):
        cluster.put("Namespace", {"metadata": {"name": namespace}}).put("Pod", pod("p", "10.1.0.9", namespace))
    return cluster


def targets(cluster: MemoryCluster) -> dict[str, str]:
    return {space: routes(cluster, space)[0].route.cluster.split("|")[1] for space in ("shop", "far", "other")}


@pytest.mark.parametrize(
    ("to", "seen"),
    [
        (["*"], {"shop": "70", "far": "70", "other": "70"}),
        ([], {"shop": "70", "far": "70", "other": "70"}),
        (["."], {"shop": "70", "far": "80", "other": "80"}),
        (["far"], {"shop": "80", "far": "70", "other": "80"}),
        (["far", "."], {"shop": "70", "far": "70", "other": "80"}),
        (["far", "*"], {"shop": "70", "far": "70", "other": "70"}),
        (["nowhere"], {"shop": "80", "far": "80", "other": "80"}),
    ],
)
def test_a_virtual_service_speaks_to_the_namespaces_that_it_is_exported_to(to: list[str], seen: dict[str, str]) -> None:
    cluster = three_namespaces().put("VirtualService", exporting("x", to, TO_TCP))
    assert targets(cluster) == seen
    accepted = said(judged(cluster, "VirtualService"))["Accepted"]
    assert accepted == (("True", "Accepted") if to != ["nowhere"] else ("False", "NamespaceNotFound"))


def test_a_namespace_s_private_choice_wins_there_and_a_stranger_s_export_does_not() -> None:
    public = exporting("public", ["*"], TO_ECHO, created="2026-01-01T00:00:00Z")
    private = exporting("x", ["."], TO_TCP, "far", created="2026-02-01T00:00:00Z")
    cluster = three_namespaces().put("VirtualService", public, private)
    assert targets(cluster) == {"shop": "80", "far": "70", "other": "80"}
    pushed = exporting("x", ["shop"], TO_TCP, "far", created="2026-02-01T00:00:00Z")
    cluster.put("VirtualService", pushed)
    assert targets(cluster) == {"shop": "80", "far": "80", "other": "80"}
    standing = judged(cluster, "VirtualService", namespace="far")
    assert "VirtualService shop/public decides" in standing.blocked[0].message


def test_labels_wildcards_and_tcp_routes_of_an_exported_one_are_for_its_namespaces_alone(tmp_path: Path) -> None:
    spec = {
        "hosts": ["*.shop.svc"],
        "exportTo": ["."],
        "http": [{"match": [{"sourceLabels": {"version": "v2"}}], "route": TO_TCP}, {"route": TO_ECHO}],
        "tcp": [{"route": [{"destination": {"host": "elsewhere"}}]}],
    }
    cluster = three_namespaces().put("VirtualService", policy("x", spec))
    found = all_messages(cluster.world(), ("shop", "echo-v2"), ResourceType.ROUTE)[f"{ECHO}:80"]
    assert found.virtual_hosts[0].routes[0].route.cluster.startswith("outbound|70|")
    assert targets(cluster) == {"shop": "80", "far": "80", "other": "80"}
    world = cluster.world()
    led = {
        space: b"elsewhere" in world.tables(space)[ResourceType.LISTENER]["10.0.0.1_90"].wire
        for space in ("shop", "far")
    }
    assert led == {"shop": True, "far": False}
    assert not complaint(static_bootstrap(cluster), tmp_path)
