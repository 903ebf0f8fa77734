"""What the HTML pages have in common: files of ours, a strict content policy, and templates that escape everything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from reports import words

__all__ = ["asset", "environment", "page_policy"]


@cache
def asset(name: str) -> str:
    """A file from `templates/`."""
    return files("reports").joinpath("templates", name).read_text(encoding="utf-8")


def page_policy(style: str, script: str) -> str:
    """The content security policy that admits this style and this script by their hashes, and nothing else."""
    hashes = (_hash(style), _hash(script))
    return f"default-src 'none'; style-src '{hashes[0]}'; script-src '{hashes[1]}'; img-src data:; base-uri 'none'"


def environment(filters: Mapping[str, Callable[..., Any]] | None = None) -> jinja2.Environment:
    """Templates in which an undefined name is an error and every text is escaped and freed of control characters."""
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.clean(value) if type(value) is str else value,
    )
    made.filters.update(filters or {})
    made.globals.update(symbols=words.SYMBOLS, meanings=words.MEANINGS)
    return made


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
