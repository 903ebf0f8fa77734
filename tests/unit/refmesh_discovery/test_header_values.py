"""Header values of Istio's API are Envoy's format strings: what is taken, and what is refused with which words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.fields import Field, Invalid
from refmesh.api.header_values import countable, format_string, literal, query_name
from refmesh.api.routing import HeaderChange


def read(text: str) -> str:
    return format_string(Field(text, "spec.value"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "100%%",
        "%REQ(x-a)%",
        "%REQ(:path?x-b)%",
        "%RESP(x-c):12%",
        "a" * 16384,
        "a %PROTOCOL% b %ROUTE_NAME%",
        "%%PROTOCOL%%",
    ],
)
def test_commands_of_the_request_are_taken(text):
    assert read(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("100%", "write %%"),
        ("50% off", "write %%"),
        ("%REQ%", "must name a header"),
        ("%REQ()%", "must name a header"),
        ("%ENVIRONMENT(TOKEN)%", "must not use the command %ENVIRONMENT(TOKEN)%"),
        ("%FILE_CONTENT(/etc/passwd)%", "must not use"),
        ("%PROTOCOL(x)%", "must not use"),
        ("%PROTOCOL:5%", "must not use the command %PROTOCOL:5%"),
        ("%START_TIME:3%", "must not use the command %START_TIME:3%"),
        ("%REQ(x):99999999999999999999999%", "write %%"),
        ("%REQ(x):\u0664%", "write %%"),
        ("a" * 16385, "must have 16384 bytes at most"),
        ("\u00e9" * 8193, "must have 16384 bytes at most"),
    ],
)
def test_anything_else_is_refused(text, says):
    with pytest.raises(Invalid, match=re.escape(says)):
        read(text)


@pytest.mark.parametrize("name", ["q" * 1025, "é" * 513, "", "\ud800"])
def test_a_query_parameter_has_a_name_that_envoy_takes(name):
    with pytest.raises(Invalid, match=r"has a name of 102|needs a name"):
        query_name(name, "spec.queryParams")
    assert query_name("é" * 512, "spec.queryParams")


@pytest.mark.parametrize(("number", "added"), [(1001, 0), (0, 1001), (500, 501)])
def test_more_headers_than_envoy_changes_are_refused(number, added):
    headers = [(f"x-{index}", "1") for index in range(1001)]
    with pytest.raises(Invalid, match="sets and adds 1001 headers, at most 1000"):
        countable(HeaderChange(tuple(headers[:number]), tuple(headers[:added])), "spec.headers")
    removed = tuple(name for name, _ in headers)
    assert countable(HeaderChange((), tuple(headers[1:]), removed), "spec.headers").remove == removed


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_literal_value_is_always_taken(text):
    assert read(literal(text)) == literal(text)
    assert literal(text).replace("%%", "%") == text
