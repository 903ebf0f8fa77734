"""Header values of Istio's API are Envoy's format strings: what is taken, and what is refused with which words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.fields import Field, Invalid
from refmesh.api.header_values import format_string, literal


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


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_literal_value_is_always_taken(text):
    assert read(literal(text)) == literal(text)
    assert literal(text).replace("%%", "%") == text
