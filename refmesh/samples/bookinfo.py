"""The bookshop of the tutorial: four small services, `python -m refmesh.samples.bookinfo SERVICE`.

`productpage` asks `details` and `reviews`; `reviews` v2 (black stars) and v3 (red stars) ask `ratings`, v1 does not.
Names, labels, ports and paths are those of the sample that introductions to service meshes use, so that their steps
work here. Each service passes the trace headers of a request on to the calls that it makes for it: a mesh cannot know
which of them belong together.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

__all__ = ["application", "forwarded", "main"]

PORT = 9080
PATIENCE = aiohttp.ClientTimeout(total=3.0)
TRACED = (
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "end-user",
    "user-agent",
    "authorization",
)
COLORS = {"v2": "black", "v3": "red"}
PRODUCT: dict[str, Any] = {
    "id": 0,
    "title": "The Comedy of Errors",
    "descriptionHtml": "Two pairs of twins in one city, and everybody takes each for the other.",
}
REVIEWS = (
    ("Reviewer1", "I laughed at every wrong brother. Read it aloud, in company."),
    ("Reviewer2", "Light and quick; those who want depth will find it in the later plays."),
)
STARS = {"Reviewer1": 5, "Reviewer2": 4}
SESSION = web.AppKey("session", aiohttp.ClientSession)
VERSION = web.AppKey("version", str)


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Those headers of a request that go along with the calls made for it."""
    return {name: headers[name] for name in TRACED if name in headers}


async def ask(request: web.Request, url: str) -> tuple[int, Any]:
    """Call another service for a request: status and JSON; 503 with an error where it cannot be had in time."""
    try:
        async with request.app[SESSION].get(url, headers=forwarded(request.headers), timeout=PATIENCE) as answer:
            if answer.status != 200:
                return answer.status, {"error": (await answer.text())[:200]}
            return 200, await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return 503, {"error": str(error) or type(error).__name__}


def product_id(request: web.Request) -> int:
    """The product in the path; 400 where it is no number."""
    try:
        return int(request.match_info["product"])
    except ValueError:
        raise web.HTTPBadRequest(text="please provide a numeric product id\n") from None


# ------------------------------------------------------------------------------------------------------------- services
async def details(request: web.Request) -> web.Response:
    """What the book is."""
    book = {"author": "William Shakespeare", "year": 1595, "type": "paperback", "pages": 200, "language": "English"}
    return web.json_response({"id": product_id(request), **book, "publisher": "PublisherA", "ISBN-10": "1234567890"})


async def ratings(request: web.Request) -> web.Response:
    """Stars by reviewer."""
    return web.json_response({"id": product_id(request), "ratings": STARS})


async def reviews(request: web.Request) -> web.Response:
    """What readers say; with stars from v2 on."""
    product, version = product_id(request), request.app[VERSION]
    found: list[dict[str, Any]] = [{"reviewer": name, "text": text} for name, text in REVIEWS]
    if color := COLORS.get(version):
        status, answer = await ask(request, f"http://ratings:{PORT}/ratings/{product}")
        for one in found:
            stars = answer.get("ratings", {}).get(one["reviewer"])
            one["rating"] = {"stars": stars, "color": color} if status == 200 else {"error": "Ratings are unavailable"}
    body = {"id": str(product), "pod": os.environ.get("HOSTNAME", ""), "version": version, "reviews": found}
    return web.json_response(body)


async def products(request: web.Request) -> web.Response:
    """Every product there is."""
    _ = request
    return web.json_response([PRODUCT])


def passed_on(service: str) -> Callable[[web.Request], Any]:
    """An API path that gives what another service says of the product."""

    async def handler(request: web.Request) -> web.Response:
        status, answer = await ask(request, f"http://{service}:{PORT}/{service}/{product_id(request)}")
        return web.json_response(answer, status=status)

    return handler


async def productpage(request: web.Request) -> web.Response:
    """The page: a part that cannot be had is said to be missing, the rest is there."""
    (details_status, book), (reviews_status, said) = await asyncio.gather(
        ask(request, f"http://details:{PORT}/details/0"), ask(request, f"http://reviews:{PORT}/reviews/0")
    )
    facts = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd>" for key, value in book.items()
    )
    page = PAGE.format(
        title=html.escape(PRODUCT["title"]),
        summary=html.escape(PRODUCT["descriptionHtml"]),
        user=html.escape(request.cookies.get("user", "")),
        details=f"<dl>{facts}</dl>" if details_status == 200 else missing("details", details_status),
        reviews="".join(map(review, said["reviews"])) if reviews_status == 200 else missing("reviews", reviews_status),
        by=html.escape(f"reviews served by {said.get('pod', '')} ({said.get('version', '')})"),
    )
    return web.Response(text=page, content_type="text/html")


def missing(part: str, status: int) -> str:
    """The words for a part that could not be had."""
    return f'<p class="missing">Error fetching product {part}! ({status})</p>'


def review(one: Mapping[str, Any]) -> str:
    """One reader's words, with stars where there are any."""
    rating = one.get("rating") or {}
    stars = ""
    if "error" in rating:
        stars = f'<p class="missing">{html.escape(rating["error"])}</p>'
    elif rating:
        full = int(rating["stars"] or 0)
        label = f"{full} of 5 stars"
        color = html.escape(str(rating["color"]))
        stars = f'<p class="stars {color}" role="img" aria-label="{label}">{"★" * full}{"☆" * (5 - full)}</p>'
    return (
        f"<blockquote><p>{html.escape(one['text'])}</p>{stars}<cite>{html.escape(one['reviewer'])}</cite></blockquote>"
    )


async def login(request: web.Request) -> web.Response:
    """Remember a name; there are no passwords in this shop."""
    form = await request.post()
    answer = web.HTTPFound("/productpage")
    answer.set_cookie("user", str(form.get("username", ""))[:64], httponly=True, samesite="Lax")
    return answer


async def logout(request: web.Request) -> web.Response:
    """Forget the name."""
    _ = request
    answer = web.HTTPFound("/productpage")
    answer.del_cookie("user")
    return answer


async def style(request: web.Request) -> web.Response:
    """The page's style sheet."""
    _ = request
    return web.Response(text=STYLE, content_type="text/css")


async def healthy(request: web.Request) -> web.Response:
    """For probes."""
    return web.json_response({"status": f"{request.app[VERSION]} is healthy"})


ROUTES: Mapping[str, Mapping[str, Callable[[web.Request], Any]]] = {
    "details": {"/details/{product}": details},
    "ratings": {"/ratings/{product}": ratings},
    "reviews": {"/reviews/{product}": reviews},
    "productpage": {
        "/": productpage,
        "/productpage": productpage,
        "/logout": logout,
        "/static/style.css": style,
        "/api/v1/products": products,
        "/api/v1/products/{product}": passed_on("details"),
        "/api/v1/products/{product}/reviews": passed_on("reviews"),
        "/api/v1/products/{product}/ratings": passed_on("ratings"),
    },
}


async def _session(app: web.Application) -> Any:
    async with aiohttp.ClientSession() as session:
        app[SESSION] = session
        yield


def application(service: str, version: str) -> web.Application:
    """One of the four services."""
    app = web.Application()
    app[VERSION] = version
    app.cleanup_ctx.append(_session)
    for path, handler in ROUTES[service].items():
        app.router.add_get(path, handler)
    if service == "productpage":
        app.router.add_post("/login", login)
    app.router.add_get("/health", healthy)
    return app


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("service", choices=sorted(ROUTES))
    parser.add_argument("--version", default=os.environ.get("SERVICE_VERSION", "v1"))
    given = parser.parse_args()
    web.run_app(application(given.service, given.version), port=PORT, access_log=None, print=None)


HERE = Path(__file__).parent
PAGE = (HERE / "productpage.html").read_text()
STYLE = (HERE / "productpage.css").read_text()

if __name__ == "__main__":
    main()
