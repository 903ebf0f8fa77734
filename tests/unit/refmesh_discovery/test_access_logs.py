"""Access logs: which accesses, by an expression that Envoy takes, and in which form."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StdoutAccessLog
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.fields import Field, Invalid
from refmesh.api.log_filter import read_expression
from refmesh.api.log_format import format_problem
from refmesh.discovery import counting
from refmesh.discovery.access_logs import access_log
from refmesh.discovery.observation import Observation
from refmesh.discovery.settings import MeshSettings
from refmesh.errors import UsageProblem
from refmesh.install import options
from tests.unit.refmesh_discovery.validating import complaint

GOOD = [
    "response.code >= 400",
    "!has(response.grpc_status) || response.grpc_status != 0",
    'connection.mtls && request.url_path.contains("v1beta3")',
    '!has(request.useragent) || !(request.useragent.startsWith("Amazon-Route53-Health-Check-Service"))',
    "'x-debug' in request.headers && request.headers['x-debug'] == 'on'",
    "has(request.headers.cookie) == false",
    "(response.code < 200 || response.code > 299) && xds.route_name != ''",
    "!!connection.mtls",
    "'it\\'s' != request.path && upstream.port == 80",
]
BAD = [
    ("", "must not be empty"),
    ("response.code", "must be true or false, and is a number"),
    ("response.code >= '400'", "compares a number with a text by >="),
    ("response.kode == 200", "has no attribute response.kode; known are response.code_details"),
    ("answer.code == 200", "has no attribute answer.code; known are those of request"),
    ("request.path.matches('a')", "has no function matches"),
    ("request.path == 'a' &&", "ends too early"),
    ("request.path == 'a", "cannot be read from"),
    ("request.path == 'a' 'b'", "has an unexpected \"'b'\""),
    ("!response.code == 200", "! needs a truth value, not a number"),
    ("has(request.headers['x'])", "where ) belongs"),
    ("response.code in request.headers", "in needs a text, not a number"),
    ("connection.mtls < true", "compares a truth value"),
    ("(" * 40 + "true" + ")" * 40, "nests more than 32 levels"),
    ("true" + " || true" * 200, "must have 1024 characters at most"),
    ("1.5 < 2", "cannot be read from '1.5 < 2'"),
    ("response.code\u00a0>= 400", r"cannot be read from '\xa0>= 400'"),
    ("connection.mtls\u3000", r"cannot be read from '\u3000'"),
    ("response.code >= \u0664\u0660", "cannot be read from"),
    ("has(request.headers.in)", "has an unexpected 'in'"),
    ("has(request.headers.true)", "has an unexpected 'true'"),
    ("has(request.headers.null)", "has an unexpected 'null'"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_meant_is_taken_as_it_is_written(text: str) -> None:
    assert read_expression(Field(text, "e")) == text


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_what_envoy_would_refuse_or_never_hold_is_refused_with_a_reason(text: str, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_expression(Field(text, "e"))
    assert sentence in str(caught.value)


PIECES = [
    "response",
    ".",
    "code",
    ">=",
    "4",
    "'a'",
    "(",
    ")",
    "!",
    "&&",
    "||",
    "in",
    "has",
    "request.headers",
    "[",
    "]",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20))
def test_no_text_whatsoever_crashes_the_reader(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert read_expression(Field(text, "e")) == text


FORMATS = [
    "[%START_TIME%] %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):20% %RESPONSE_CODE%%DURATION% 100%%",
    "%DYNAMIC_METADATA(istio.mixer:status)% %UPSTREAM_METADATA(a:b)% %RESP(SERVER)% %TRAILER(GRPC-STATUS)%",
]


@pytest.mark.parametrize("text", FORMATS)
def test_formats_in_envoy_s_words_are_good_as_a_line_and_in_an_object(text: str) -> None:
    assert not format_problem(text, as_json=False)
    assert not format_problem(json.dumps({"all": text}), as_json=True)


@pytest.mark.parametrize(
    ("text", "as_json", "sentence"),
    [
        ("%RESPONSE_KODE%", False, "%RESPONSE_KODE%, which is no command operator"),
        ("%DURATION(x)%", False, "%DURATION(x)%, which is no command operator"),
        ("50% of %DURATION%", False, "has a % that begins no command operator"),
        ("%REQ(a b)%", False, "%REQ(a b)%, which is no"),
        ("%START_TIME%", True, "is no JSON object"),
        ('{"a": 1}', True, "must have a text for 'a'"),
        ('{"a": "%X%"}', True, "(in 'a')"),
        ("{}", True, "must be a JSON object"),
        (r'{"\ud800": "x"}', True, "that cannot be sent"),
        (r'{"a": "\ud800"}', True, "characters that cannot be sent (in 'a')"),
        ("\ud800", False, "characters that cannot be sent"),
    ],
)
def test_other_formats_are_refused_with_a_reason(text: str, as_json: bool, sentence: str) -> None:
    assert sentence in format_problem(text, as_json=as_json)


def test_a_format_is_chosen_at_install_in_istio_s_words_as_well() -> None:
    chosen = options.parse(None, ["meshConfig.accessLogEncoding=TEXT", "meshConfig.accessLogFormat=%RESPONSE_CODE%"])
    assert (chosen.access_log_encoding, chosen.access_log_format) == ("TEXT", "%RESPONSE_CODE%")
    with pytest.raises(UsageProblem, match="access_log_format is no JSON object"):
        options.parse(None, ["access_log_format=%RESPONSE_CODE%"])


def form(settings: MeshSettings) -> Any:
    (log,) = access_log(settings, "inbound", http=True)
    found = StdoutAccessLog()
    assert log.typed_config.Unpack(found)
    return found.log_format


def test_every_line_of_a_format_of_one_s_own_ends() -> None:
    line = MeshSettings(text_log=True, log_format="%DURATION%")
    assert form(line).text_format_source.inline_string == "%DURATION%\n"
    assert dict(form(MeshSettings(log_format='{"a": "%DURATION%"}')).json_format) == {"a": "%DURATION%"}


def test_a_connection_is_logged_at_its_end_if_the_expression_holds() -> None:
    settings = MeshSettings().observing(Observation(log_filter="connection.mtls"))
    (log,) = (counting.at_end(one) for one in access_log(settings, "inbound", http=False))
    kinds = [one.WhichOneof("filter_specifier") for one in log.filter.and_filter.filters]
    assert kinds == ["log_type_filter", "extension_filter"]


def logs() -> Iterator[AccessLog]:
    for text in GOOD:
        yield from access_log(MeshSettings().observing(Observation(log_filter=text)), "inbound", http=True)
    for text in FORMATS:
        for wanted in ({"text_log": True, "log_format": text}, {"log_format": json.dumps({"all": text})}):
            yield from access_log(replace(MeshSettings(), **wanted), "inbound", http=True)


def test_envoy_takes_what_is_accepted(tmp_path: Path) -> None:
    manager = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    proxy = {
        "@type": manager,
        "stat_prefix": "a",
        "cluster": "a",
        "access_log": [MessageToDict(log) for log in logs()],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    }
    assert not complaint({"static_resources": {"listeners": [listener], "clusters": [{"name": "a"}]}}, tmp_path)
