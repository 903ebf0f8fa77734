"""Tables that are others but for a few resources behave as whole ones do, and so do the differences between them."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from refmesh.discovery.difference import changes, difference
from refmesh.discovery.overlay import Draft, Overlay
from refmesh.discovery.resource import Encoded, Table

NAMES = st.sampled_from("abcdef")
VERSIONS = st.sampled_from("123")
PLAIN = st.dictionaries(NAMES, VERSIONS)
STEPS = st.lists(st.tuples(NAMES, st.none() | VERSIONS), max_size=8)
"""Put a resource in, or take it out."""


def table(versions: Mapping[str, str]) -> dict[str, Encoded]:
    return {name: Encoded(name, version, b"") for name, version in versions.items()}


def drafted(below: Table, steps: list[tuple[str, str | None]]) -> Draft:
    draft = Draft(below)
    for name, version in steps:
        if version is None:
            draft.pop(name, None)
        else:
            draft[name] = Encoded(name, version, b"")
    return draft


def versions(found: Mapping[str, Encoded]) -> dict[str, str]:
    return {name: item.version for name, item in found.items()}


@given(PLAIN, STEPS)
def test_a_draft_and_what_becomes_of_it_are_what_was_put_in(start: dict[str, str], steps) -> None:
    expected = dict(start)
    for name, version in steps:
        if version is None:
            expected.pop(name, None)
        else:
            expected[name] = version
    below = table(start)
    draft = drafted(below, steps)
    done = draft.done(None)
    for found in (draft, done):
        assert versions(found) == expected
        assert len(found) == len(list(found)) == len(expected)
        assert {name for name in "abcdef" if name in found} == expected.keys()
    assert versions(below) == start


@given(PLAIN, STEPS, STEPS)
def test_the_same_again_is_the_table_of_last_time(start: dict[str, str], steps, others) -> None:
    below = table(start)
    before = drafted(below, steps).done(None)
    assert drafted(below, steps).done(before) is before
    other = drafted(below, others).done(before)
    assert (other is before) == (versions(other) == versions(before))


def test_what_differs_in_nothing_is_what_lies_below() -> None:
    below = table({"a": "1"})
    assert drafted(below, [("b", "1"), ("b", None), ("a", "2"), ("a", "1")]).done(None) is below


@given(PLAIN, STEPS, STEPS, PLAIN, STEPS, STEPS)
def test_differences_are_those_of_whole_tables(first, steps, more, second, others, still_more) -> None:
    old = drafted(drafted(table(first), steps).done(None), more).done(None)
    for below in (table(second), table(first)):
        new = drafted(drafted(below, others).done(None), still_more).done(None)
        for one, other in ((old, new), (new, old)):
            changed, gone = changes(one, other)
            expected, expected_gone = difference(dict(one), dict(other))
            assert (versions(changed), gone) == (versions(expected), expected_gone)


def test_a_resource_that_is_not_there_is_missed_as_in_any_table() -> None:
    found = Overlay(table({"a": "1", "b": "1"}), {}, frozenset({"a"}))
    assert found.get("a") is None
    assert list(found) == ["b"]
