"""`meshproof mesh init`: the skeleton of an adapter, as a package of its own that works at once."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from meshproof_cli.settings import AUTO
from reports.errors import UsageProblem

__all__ = ["app", "skeleton"]

app = typer.Typer(help="Start an adapter for a mesh of your own.", no_args_is_help=True, add_completion=False)

TEMPLATES = Path(__file__).parent / "templates"
FILES = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "adapter.py.tmpl": "{package}/__init__.py",
    "test_adapter.py.tmpl": "tests/test_adapter.py",
}
WORDED = {"Inject", "NoInject"}
"""The intents that the skeleton has words for."""


@app.callback()
def _group() -> None:
    """Keep `init` a command of its own: there will be more."""


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="What you will type after --mesh: small letters, digits, hyphens.")],
    directory: Annotated[Path | None, typer.Argument(help="Where to write it; default: a new folder NAME.")] = None,
) -> None:
    """Write the skeleton of an adapter: a package that `pip install -e` makes known to meshproof.

    It says how pods opt in and declares everything else unsupported; you replace one declaration after the other.
    """
    target = directory or Path(name)
    files = skeleton(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageProblem(f"{target} exists and is not an empty folder", fix="name another one")
    try:
        for path, text in files.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{target} cannot be written: {error.strerror}", fix="name another folder") from error
    typer.echo(f"Wrote {', '.join(files)} to {target}. Next:")
    # Not by a bare `pip`: that may be of another environment, which has no meshproof to find the package.
    python, place = shlex.quote(sys.executable), shlex.quote(str(target))
    typer.echo(f"  {python} -m pip install -e {place} && {python} -m pytest {place}")
    typer.echo(f"  meshproof conformance --mesh {name} --only INJ --kubeconfig FILE")


def skeleton(name: str) -> dict[str, str]:
    """Path -> text of the files of an adapter's package. `UsageProblem` for a name that is none."""
    from conformance import intents
    from conformance.adapters import known
    from conformance.intents import Intent

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageProblem(f"{name!r} is no name for a mesh", fix="small letters, digits and hyphens, as in my-mesh")
    if name in known():
        raise UsageProblem(f"there is an adapter called {name} already", fix="choose another name")
    if name == AUTO:
        raise UsageProblem(f"{name} is a word of --mesh itself: what the cluster has", fix="choose another name")
    every = {one for one in intents.__all__ if isinstance(getattr(intents, one), type)
             and issubclass(getattr(intents, one), Intent) and one != "Intent"}  # fmt: skip
    others = sorted(every - WORDED)
    words = {
        "name": name,
        "package": "meshproof_" + name.replace("-", "_"),
        "imports": "\n".join(f"    {one}," for one in sorted([*every, "Scope"])),
        "cannot": "\n".join(f"            {one}: NOT_YET," for one in others),
    }
    return {
        path.format(**words): Template((TEMPLATES / file).read_text(encoding="utf-8")).substitute(words)
        for file, path in FILES.items()
    }
