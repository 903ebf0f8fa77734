"""Histories survive JSON exactly, whatever they are made of, and nothing but the suite's own types comes out of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.arrivals import Arrivals
from conformance.catalogue import checks
from conformance.checks.ejection import Answer, Episode
from conformance.checks.mtls_judges import Attempt, Handshake, Refusal
from conformance.checks.weights import Split
from conformance.histories import NotKept, decode, encode
from conformance.pulse import Pulse
from fixtures.workloads.traffic import Record
from reports.errors import UsageProblem
from reports.model import Verdict
from tests.unit.conformance.helpers import strange

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.sampled_from(Verdict) | st.text(alphabet=st.characters(categories=["Cs", "Ll"]), max_size=3)
)  # fmt: skip
KEYS = st.text(max_size=4) | st.integers() | st.sampled_from(["$type", "$list", "$"]) | st.sampled_from(Verdict)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=3)
        | st.dictionaries(st.text(max_size=4), st.integers(), max_size=3).map(Counter)
        | st.builds(Split, declared=st.just({"v1": 9}), answers=st.tuples(st.text()), alpha=st.floats(0, 1))
    ),
    max_leaves=8,
)


def again(value: object) -> object:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


def same_types(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return all(same_types(mine, its) for mine, its in zip(one, other, strict=True))
    if isinstance(one, dict):
        return all(same_types(one[key], other[key]) for key in one)
    if is_dataclass(one):
        return all(same_types(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return True


@given(VALUES)
def test_what_comes_back_is_equal_and_of_the_same_types(value):
    assert again(value) == value
    assert same_types(value, again(value))


HISTORIES = st.one_of(
    *(
        st.builds(kind)
        for kind in (Split, Attempt, Handshake, Refusal, Answer, Arrivals, Episode, Pulse, Record)
    )
)  # fmt: skip


@given(HISTORIES)
def test_every_kind_of_history_comes_back(history):
    back = again(history)
    assert encode(back) == encode(history)  # a NaN is no NaN's equal, but has the same form
    assert type(back) is type(history)


def test_numbers_without_a_json_form():
    assert again((math.inf, -math.inf)) == (math.inf, -math.inf)
    assert math.isnan(again(math.nan))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Elsewhere:
    value: int = 0


def test_what_cannot_be_kept_is_named_with_its_place():
    with pytest.raises(NotKept, match=r"history\.declared\.v1 is a object"):
        encode(Split({"v1": object()}, (), 0.1))  # type: ignore[dict-item]
    with pytest.raises(NotKept, match=r"history\[1\] is a .*Elsewhere, which is not a type of the suite"):
        encode((0, Elsewhere()))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"$type": "os:system", "command": "true"}, "os:system"),
        ({"$type": "subprocess:Popen", "args": "true"}, "subprocess:Popen"),
        ({"$type": "conformance.histories:subprocess.Popen"}, "does not know"),
        ({"$type": "conformance.runner:Runner"}, "does not know"),
        ({"$type": "conformance.no_such_module:Split"}, "does not know"),
        ({"$type": 3}, "does not know"),
        ({"$type": "conformance.checks.weights:Split", "nothing": 1}, "nothing"),
        ([1, {"a": {"$enum": "reports.model:Verdict", "value": "perhaps"}}], r"history\[1\]\.a"),
        ({"$later": 1}, r"\$later"),
        ({"$bytes": "%"}, "base64"),
    ],
)
def test_a_bundle_cannot_name_what_is_not_a_value_of_the_suite(document, said):
    with pytest.raises(UsageProblem, match=said):
        decode(document)


def test_a_known_history_reads_well():
    kept = encode(Refusal((strange(8080, answered=0),), ()))
    assert kept["$type"] == "conformance.checks.mtls_judges:Refusal"
    assert kept["attempts"][0]["ends"] == {"reset": 20}


# -- every check -------------------------------------------------------------------------------------------------------

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def history_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type, with JSON where it says Any."""
    if hint is Any:
        return VALUE
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{one.name: history_of(hints[one.name]) for one in fields(hint) if one.init})
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return st.tuples(*map(history_of, inner))
    if origin in (tuple, Sequence):
        return st.lists(history_of(inner[0]), max_size=2).map(tuple)
    if origin in (Mapping, dict):
        return st.dictionaries(history_of(inner[0]), history_of(inner[1]), max_size=2)
    if origin in (Union, UnionType):
        return st.one_of(*map(history_of, inner))
    return st.from_type(hint)


JUDGES = {one.judge: one.id for one in checks()}


@pytest.mark.parametrize("judge", JUDGES, ids=JUDGES.values())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_history_of_every_check_can_be_kept_and_judged_again(judge, data):
    """A judge says in its annotation what it judges; a bundle must be able to hold it."""
    hint = next(one for name, one in get_type_hints(judge).items() if name != "return")
    history = data.draw(history_of(hint))
    assert encode(again(history)) == encode(history)
