"""`meshproof`: the entry point. Turns errors into one sentence, a fix and an exit code."""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from meshproof_cli.lazy import LAZY, Lazy, LazyGroup
from meshproof_cli.streams import forgiving_streams
from reports.errors import ExitCode, MeshproofError

__all__ = ["app", "main", "product_version"]

LAZY.update(
    {
        "run": Lazy("meshproof_cli.run", "Do the whole job: cluster, mesh, conformance, chaos, latency, report."),
        "conformance": Lazy("meshproof_cli.conformance", "Judge the mesh of an existing cluster, and nothing else."),
        "features": Lazy("meshproof_cli.features", "Ask a cluster which mesh it has, and how to judge it."),
        "mesh": Lazy("meshproof_cli.mesh", "Start an adapter for a mesh of your own."),
        "list": Lazy("meshproof_cli.listing", "List the checks, profiles, experiments, faults or meshes there are."),
        "replay": Lazy("meshproof_cli.replay", "Judge what bundles recorded again, without a cluster."),
        "compare": Lazy("meshproof_cli.compare", "Say what got better or worse between two runs, and what is noise."),
        "report": Lazy("meshproof_cli.rewrite", "Write the report of an earlier run again, in any format."),
        "cluster": Lazy("fixtures.cluster.cli", "Create, list and delete clusters; load images into them."),
        "image": Lazy("fixtures.images.cli", "Build the images that a cluster without a registry is given."),
        "load": Lazy("load.cli", "Measure what the proxies cost in latency.", "meshproof_cli.wiring:load_knows_meshes"),
        "chaos": Lazy(
            "chaos.cli",
            "Break things under load and judge how the mesh takes it.",
            "meshproof_cli.interrupts:end_like_ctrl_c",
        ),
        "sensitivity": Lazy(
            "meshproof_cli.sensitivity.command", "Measure the suite: which check finds which seeded defect."
        ),
        "refmesh": Lazy("meshproof_cli.refmesh_command", "The reference mesh's own command line."),
        "test": Lazy("meshproof_cli.test", "Run the tests and checks of meshproof itself."),
    }
)

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
"""What a file system says no by: no bug of ours, whatever we wanted of the file."""

_NO_MORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""What a stream says no by, which has no name: files of ours have one in their errors."""

app = typer.Typer(
    name="meshproof",
    cls=LazyGroup,
    help="Prove what a service mesh does: conformance, chaos and proxy latency, with stated error rates.",
    epilog=(
        "Exit codes: 0 conformant (or measured), 1 not conformant, 2 wrong call, 3 machine or cluster lacks something, "
        "4 not proven, 70 a bug in meshproof, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def product_version() -> str:
    """The installed version; from a clone that is not installed, the one in pyproject.toml."""
    try:
        return version("meshproof")
    except PackageNotFoundError:
        import tomllib

        project = Path(__file__).parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meshproof {product_version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    from fixtures.proxies import exempt_own_clusters

    exempt_own_clusters()


@forgiving_streams()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="meshproof")
    except MeshproofError as error:
        _complain(error.problem, error.fix)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is kept for a report, not thrown at the user
        if isinstance(error, OSError) and error.errno in _REFUSALS and error.filename is not None:
            _complain(f"{error.filename} cannot be used: {error.strerror}", "see to it, or name another place")
            sys.exit(int(ExitCode.ENVIRONMENT))
        if isinstance(error, OSError) and error.errno in _NO_MORE:
            _complain(f"the output cannot be written: {error.strerror}", "see to where it goes")
            sys.exit(int(ExitCode.ENVIRONMENT))
        _complain(
            f"this is a bug in meshproof: {type(error).__name__}: {_first_line(error)}",
            f"report it with the traceback in {_keep_traceback()}",
        )
        sys.exit(int(ExitCode.INTERNAL))


def _complain(problem: str, fix: str) -> None:
    from reports.console import console

    console.print(f"[bold red]error:[/bold red] {_escaped(problem)}")
    if fix:
        console.print(f"  [bold]fix:[/bold] {_escaped(fix)}")


def _escaped(text: str) -> str:
    from rich.markup import escape

    from reports.words import inert

    return escape(inert(text))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _keep_traceback() -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="meshproof-traceback-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"meshproof {product_version()}, Python {sys.version}\n{sys.argv!r}\n")
            file.write(traceback.format_exc())
        return file.name
    except OSError as error:
        return f"nowhere: it could not be written ({error.strerror})"
