"""What proxies write to their standard output of each request and connection: in which form, and of which."""

from __future__ import annotations

import json
from typing import Any

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, ExtensionFilter
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StdoutAccessLog

from refmesh.discovery.packing import pack
from refmesh.discovery.settings import MeshSettings

__all__ = ["access_log"]


_CEL = "envoy.access_loggers.extension_filters.cel"
_COMMON_LOG = {
    "start_time": "%START_TIME%",
    "duration": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "response_flags": "%RESPONSE_FLAGS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_peer_uri_san": "%DOWNSTREAM_PEER_URI_SAN%",
    # Whether an AUDIT policy matched.
    "audit": "%DYNAMIC_METADATA(envoy.common:access_log_hint)%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_peer_uri_san": "%UPSTREAM_PEER_URI_SAN%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
_HTTP_LOG = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "authority": "%REQ(:AUTHORITY)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "response_code": "%RESPONSE_CODE%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "route_name": "%ROUTE_NAME%",
}
_TRACE_LOG = {"trace_id": "%TRACE_ID%"}
_AROUND = '"%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%'
_COUNTED = "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION%"
_HTTP_LINE = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% '
    f'{_COUNTED} "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" {_AROUND} %ROUTE_NAME%\n'
)
_STREAM_LINE = f'[%START_TIME%] "- - -" 0 - {_COUNTED} {_AROUND} %CONNECTION_TERMINATION_DETAILS%\n'


def access_log(settings: MeshSettings, direction: str, *, http: bool) -> list[Any]:
    """The loggers of requests, or of connections; none where nothing is to be logged."""
    if not settings.observation.access_log:
        return []
    log = StdoutAccessLog(log_format=_form(settings, direction, http=http))
    made = AccessLog(name="envoy.access_loggers.stdout", typed_config=pack(log))
    if settings.observation.log_filter:
        chosen = pack(ExpressionFilter(expression=settings.observation.log_filter))
        made.filter.CopyFrom(AccessLogFilter(extension_filter=ExtensionFilter(name=_CEL, typed_config=chosen)))
    return [made]


def _form(settings: MeshSettings, direction: str, *, http: bool) -> Any:
    form = SubstitutionFormatString()
    if settings.text_log:
        line = (
            settings.log_format.rstrip("\n") + "\n" if settings.log_format else (_HTTP_LINE if http else _STREAM_LINE)
        )
        form.text_format_source.inline_string = line
    elif settings.log_format:
        form.json_format.update(json.loads(settings.log_format))
    else:
        traced = _TRACE_LOG if settings.observation.sampling is not None else {}
        form.json_format.update({"direction": direction, **_COMMON_LOG, **({**_HTTP_LOG, **traced} if http else {})})
    return form
