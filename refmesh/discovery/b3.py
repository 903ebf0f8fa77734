"""B3, Zipkin's headers for trace context, beside Envoy's tracer, which knows W3C's `traceparent` alone.

A request that comes with B3 only goes on in that trace: it is written into `traceparent` before Envoy looks for it,
from the single `b3` header, else from the several (`x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled`). Once the proxy's own
span is in `traceparent`, both forms are written anew from it: applications that pass on B3 alone lose no trace.

Source: https://github.com/openzipkin/b3-propagation
"""

from __future__ import annotations

from typing import Any

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation, Mutations
from envoy.extensions.filters.http.upstream_codec.v3.upstream_codec_pb2 import UpstreamCodec
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter

from refmesh.discovery.packing import pack

__all__ = ["read", "writers"]

_B3_HELD = (
    "'x-b3-traceid' in request.headers && 'x-b3-spanid' in request.headers"
    " && request.headers['x-b3-traceid'].matches('^([0-9a-f]{16}){1,2}$')"
    " && request.headers['x-b3-traceid'].matches('[1-9a-f]')"
    " && request.headers['x-b3-spanid'].matches('^[0-9a-f]{16}$')"
)
_B3_SHORT = "size(request.headers['x-b3-traceid']) == 16"
_B3_REFUSED = "'x-b3-sampled' in request.headers && request.headers['x-b3-sampled'] == '0'"
# The trace, the span, and perhaps the decision and the parent; with a decision alone there is no trace to go on. In
# pieces, because Envoy takes no large expression here.
_SINGLE_HELD = (
    "'b3' in request.headers"
    " && request.headers['b3'].matches('^([0-9a-f]{16}){1,2}-')"
    " && request.headers['b3'].matches('^0*[1-9a-f]')"
    " && request.headers['b3'].matches('^[0-9a-f]+-[0-9a-f]{16}(-|$)')"
    " && request.headers['b3'].matches('^[0-9a-f]+-[0-9a-f]+(-[01d](-[0-9a-f]+)?)?$')"
)
_SINGLE_SHORT = "request.headers['b3'].matches('^[0-9a-f]{16}-')"
_SINGLE_REFUSED = "request.headers['b3'].matches('^[0-9a-f]+-[0-9a-f]+-0')"


def _traceparent(held: str, *pieces: tuple[str, int]) -> str:
    """Trace context of these pieces where it is held; beside each the most characters of it (0: all)."""
    # Envoy's CEL joins and cuts no strings: each piece is nothing where the headers are not there.
    return "".join(f"%CEL({held} ? ({piece}) : ''){f':{most}' if most else ''}%" for piece, most in pieces)


_TRACEPARENTS = (
    _traceparent(
        _SINGLE_HELD,
        (f"{_SINGLE_SHORT} ? '00-0000000000000000' : '00-'", 0),
        (f"{_SINGLE_SHORT} ? request.headers['b3'] : ''", 16 + 1 + 16),
        (f"{_SINGLE_SHORT} ? '' : request.headers['b3']", 32 + 1 + 16),
        (f"{_SINGLE_REFUSED} ? '-00' : '-01'", 0),
    ),
    _traceparent(
        _B3_HELD,
        (f"{_B3_SHORT} ? '00-0000000000000000' : '00-'", 0),
        ("request.headers['x-b3-traceid']", 0),
        ("'-'", 0),
        ("request.headers['x-b3-spanid']", 0),
        (f"{_B3_REFUSED} ? '-00' : '-01'", 0),
    ),
)


# Envoy names no span of a mirrored request here: it keeps the headers that its original came with, or none. Each header
# is written before the next is worked out.
_IF_NAMED = "%CEL('x-b3-traceid' in request.headers ? ({}) : '')%"
_DASH = _IF_NAMED.format("'-'")
_WRITTEN = {
    "x-b3-traceid": "%TRACE_ID%",
    "x-b3-spanid": "%SPAN_ID%",
    "x-b3-sampled": _IF_NAMED.format("request.headers['traceparent'].endsWith('-01') ? '1' : '0'"),
    "b3": f"%REQ(x-b3-traceid)%{_DASH}%REQ(x-b3-spanid)%{_DASH}%REQ(x-b3-sampled)%",
}
# Of the span before; Envoy does not say which one is its own span's parent.
_OUTDATED = "x-b3-parentspanid"


def read() -> tuple[Any, ...]:
    """What is done to a request's headers before Envoy looks which trace it belongs to."""
    return tuple(_put("traceparent", value, HeaderValueOption.ADD_IF_ABSENT) for value in _TRACEPARENTS)


def writers() -> list[Any]:
    """The filters of a cluster, which see a request after the tracer has written its span into it."""
    replaced = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    mutations = [*(_put(name, value, replaced) for name, value in _WRITTEN.items()), Mutation(remove=_OUTDATED)]
    written = HeaderMutation(mutations=Mutations(request_mutations=mutations))
    return [
        HttpFilter(name="envoy.filters.http.header_mutation", typed_config=pack(written)),
        HttpFilter(name="envoy.filters.http.upstream_codec", typed_config=pack(UpstreamCodec())),
    ]


def _put(name: str, value: str, action: Any) -> Any:
    return Mutation(append=HeaderValueOption(header=HeaderValue(key=name, value=value), append_action=action))
