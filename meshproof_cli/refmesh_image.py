"""The image that `refmesh install` takes where none is named: built here, and loaded into the cluster if we can.

Into clusters that meshproof or kind made images can be put from here. Elsewhere a name must be given: nobody but the
user knows which registry the nodes reach.
"""

from __future__ import annotations

from pathlib import Path

from fixtures.cluster.owners import maker_of
from fixtures.images import build_archive, known_reference
from reports.console import step
from reports.errors import MeshproofError

__all__ = ["image_for"]


def image_for(kubeconfig: Path, context: str | None, *, load: bool) -> str:
    """The name of an image of this meshproof; with `load` the nodes of the cluster have it from now on.

    Empty where nobody but the user can bring one to the nodes. Raises RuntimeError with a sentence for people: refmesh
    calls this by its entry point, and knows no errors of ours.
    """
    try:
        if not load:
            return known_reference()
        found = maker_of(kubeconfig, context)
        if found is None:
            return ""
        archive = build_archive()
        maker, own_name = found
        with step(f"Loading {archive.path.name} into {own_name}"):
            maker.load(own_name, archive.path)
    except MeshproofError as error:
        sentences = (f"{text[:1].upper()}{text[1:].rstrip('.')}." for text in (error.problem, error.fix) if text)
        raise RuntimeError(" ".join(sentences)) from error
    return archive.reference
