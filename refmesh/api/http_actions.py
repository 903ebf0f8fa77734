"""What the http routes of a VirtualService do with a request, one reader for each block; and how they compare texts."""

from __future__ import annotations

import base64
import re

import re2

from refmesh.api.fields import MILLISECOND, Field, Invalid
from refmesh.api.routing import Cors, DirectResponse, Fault, Redirect, Retry, Rewrite, TextMatch

__all__ = ["cors", "direct", "fault", "redirect", "retry", "rewrite", "text_match"]

# What Envoy knows for x-envoy-retry-on and x-envoy-retry-grpc-on; it leaves out other words in silence.
_RETRY_ON = {
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
    "refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}  # fmt: skip
_GRPC_STATUSES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""By number, as gRPC defines them."""
_MOST_BODY_BYTES = 4096
"""What Envoy takes as the body of an answer of its own."""


def text_match(field: Field, *, ignore_case: bool = False) -> TextMatch | None:
    """Read a StringMatch; None where there is none. Raises `Invalid`."""
    field.only("exact", "prefix", "regex")
    given = [kind for kind in ("exact", "prefix", "regex") if field.get(kind).present]
    if len(given) > 1:
        raise Invalid(field.path, "must have one of exact, prefix, regex")
    if not given:
        return None
    if given[0] == "regex":
        return TextMatch("regex", field.get("regex").regex())
    return TextMatch("exact" if given[0] == "exact" else "prefix", field.get(given[0]).text(), ignore_case)


def cors(field: Field) -> Cors | None:
    """Read `corsPolicy`; None where there is none. Raises `Invalid`."""
    if not field.present:
        return None
    field.only(
        "allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials",
        "unmatchedPreflights",
    )  # fmt: skip
    unmatched = field.get("unmatchedPreflights").choice("UNSPECIFIED", "FORWARD", "IGNORE", default="UNSPECIFIED")
    origins = []
    for item in field.get("allowOrigins").each():
        origin = text_match(item)
        if origin is None:
            raise Invalid(item.path, "must have one of exact, prefix, regex")
        everything = origin.kind == "exact" and origin.value == "*"
        origins.append(TextMatch("regex", ".*") if everything else origin)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(item.text() for item in field.get(key).each())

    return Cors(
        origins=tuple(origins),
        methods=texts("allowMethods"),
        headers=texts("allowHeaders"),
        exposed=texts("exposeHeaders"),
        max_age=field.get("maxAge").duration(),
        credentials=field.get("allowCredentials").boolean(),
        # As in Istio: only who asks for it has them answered here.
        forward_unmatched=unmatched != "IGNORE",
    )


def retry(field: Field) -> Retry | None:
    """Read `retries`; None where there is none. Without `attempts` none is made, as in Istio. Raises `Invalid`."""
    if not field.present:
        return None
    field.only("attempts", "perTryTimeout", "retryOn", "backoff", "retryRemoteLocalities", "retryIgnorePreviousHosts")
    conditions, statuses = [], []
    for condition in (part.strip() for part in field.get("retryOn").text("").split(",")):
        if condition.isascii() and condition.isdigit():
            if not 100 <= int(condition[:9]) <= 599:
                raise Invalid(f"{field.path}.retryOn", f"{condition} is not an HTTP status")
            statuses.append(int(condition))
        elif condition in _RETRY_ON:
            conditions.append(condition)
        elif condition:
            known = ", ".join(sorted(_RETRY_ON))
            raise Invalid(f"{field.path}.retryOn", f"{condition!r} is neither an HTTP status nor one of {known}")
    if statuses:
        conditions.append("retriable-status-codes")
    attempts = field.get("attempts").integer(0, high=1000)
    found = Retry(
        attempts,
        field.get("perTryTimeout").duration(),
        ",".join(conditions),
        tuple(statuses),
        backoff=field.get("backoff").duration(low=MILLISECOND),
        other_hosts=field.get("retryIgnorePreviousHosts").boolean(default=True),
        other_places=field.get("retryRemoteLocalities").boolean(),
    )
    return found if attempts else Retry(0, idle=found != Retry(0))


def fault(field: Field) -> Fault | None:
    """Read `fault`; None where there is none. Without a percentage it befalls nobody, as in Istio. Raises `Invalid`."""
    if not field.present:
        return None
    delay, abort = field.only("delay", "abort").get("delay"), field.get("abort")
    delay.only("fixedDelay", "percentage", "percent")
    abort.only("httpStatus", "grpcStatus", "percentage")
    status, grpc = abort.get("httpStatus"), abort.get("grpcStatus")
    if abort.present and status.present == grpc.present:
        raise Invalid(abort.path, "needs exactly one of httpStatus and grpcStatus")
    fixed = delay.get("fixedDelay").duration(low=MILLISECOND)
    if delay.present and fixed is None:
        raise Invalid(f"{delay.path}.fixedDelay", "is required")
    return Fault(
        delay=fixed,
        delay_percent=_percent(delay, delay.get("percent").integer(0, high=100)) if delay.present else 0.0,
        abort_status=status.integer(low=200, high=599) if status.present else 0,
        abort_grpc_status=_GRPC_STATUSES.index(grpc.choice(*_GRPC_STATUSES)) if grpc.present else None,
        abort_percent=_percent(abort) if abort.present else 0.0,
    )


def _percent(field: Field, old: int = 0) -> float:
    """The percentage, of which 0 may be left out; `old`: what stands in the field that was there before it."""
    share = field.get("percentage")
    return share.only("value").get("value").number(0.0) if share.present else float(old)


def redirect(field: Field) -> Redirect | None:
    """Read `redirect`; None where there is none. Raises `Invalid`."""
    if not field.present:
        return None
    field.only("uri", "prefixRewrite", "authority", "port", "scheme", "redirectCode")
    prefix = field.get("prefixRewrite")
    if prefix.present and field.get("uri").present:
        raise Invalid(prefix.path, "cannot stand beside uri")
    code = field.get("redirectCode").integer(301, high=599)
    if code not in {301, 302, 303, 307, 308}:
        raise Invalid(f"{field.path}.redirectCode", "must be 301, 302, 303, 307 or 308")
    port = field.get("port")
    return Redirect(
        scheme=field.get("scheme").text(""),
        host=field.get("authority").text(""),
        port=port.integer(low=1, high=65535) if port.present else 0,
        path=field.get("uri").text(""),
        prefix=prefix.text() if prefix.present else None,
        status=code,
    )


def direct(field: Field) -> DirectResponse | None:
    """Read `directResponse`; None where there is none. Raises `Invalid`."""
    if not field.present:
        return None
    status = field.only("status", "body").get("status").integer(low=200, high=599)
    body = field.get("body").only("string", "bytes")
    text, data = body.get("string"), body.get("bytes")
    if text.present and data.present:
        raise Invalid(body.path, "must have one of string and bytes")
    content = b""
    if text.present:
        if not isinstance(text.value, str):
            raise Invalid(text.path, "must be a string")
        content = text.value.encode(errors="replace")
    elif data.present:
        try:
            content = base64.b64decode(data.text(), validate=True)
        except ValueError as error:
            raise Invalid(data.path, "must be base64") from error
    if len(content) > _MOST_BODY_BYTES:
        raise Invalid(body.path, f"has {len(content)} bytes, at most {_MOST_BODY_BYTES}")
    return DirectResponse(status, content)


def rewrite(field: Field) -> Rewrite | None:
    """Read `rewrite`; None where there is none. Raises `Invalid`."""
    if not field.present:
        return None
    field.only("uri", "authority", "uriRegexRewrite")
    uri, pattern = field.get("uri"), field.get("uriRegexRewrite")
    if pattern.present and uri.present:
        raise Invalid(pattern.path, "cannot stand beside uri")
    pattern.only("match", "rewrite")
    return Rewrite(
        host=field.get("authority").text(""),
        prefix=uri.text() if uri.present else None,
        pattern=pattern.get("match").regex() if pattern.present else "",
        substitution=_substitution(pattern) if pattern.present else "",
    )


def _substitution(block: Field) -> str:
    """What stands for the match. Envoy refuses a group that the expression does not have."""
    field = block.get("rewrite")
    text = field.text("")
    groups = re2.compile(block.get("match").text()).groups
    for escaped in re.findall(r"\\(.?)", text):
        if escaped != "\\" and not (escaped.isascii() and escaped.isdigit() and int(escaped) <= groups):
            raise Invalid(field.path, f"names a group by \\{escaped}, and the match has {groups}")
    return text
