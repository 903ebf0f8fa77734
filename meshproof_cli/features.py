"""`meshproof features`: asks a cluster what mesh it has, and proposes how to judge it. Reads only."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from meshproof_cli import flags
from meshproof_cli.output import Output
from meshproof_cli.settings import existing_cluster

if TYPE_CHECKING:
    from conformance.detection import Proposal, Seen

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def features(
    kubeconfig: flags.Kubeconfig = None,
    context: flags.Context = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
) -> None:
    """Ask a cluster which mesh it has, in which version, and propose how to judge it.

    What you then say with --mesh, --set, --config and --profile wins over any proposal.
    """
    from conformance.survey import look, proposals

    kube = existing_cluster(kubeconfig, context)
    seen = look(kube)
    proposed = proposals(kube, seen)
    if output is Output.TABLE:
        for line in told(seen, proposed):
            typer.echo(line)
        return
    found = {"seen": asdict(seen), "proposals": [{**asdict(one), "flags": one.flags} for one in proposed]}
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if output is Output.YAML:
        import yaml

        text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True).rstrip()
    typer.echo(text)


def told(seen: Seen, proposals: Sequence[Proposal]) -> Iterator[str]:
    """What was seen and what is proposed, for people."""
    yield f"Kubernetes {seen.kubernetes}" + (f", Gateway API {seen.gateway_api}" if seen.gateway_api else "")
    for one in seen.classes:
        state = "accepted" if one.accepted else "not accepted"
        yield f"GatewayClass {one.name} of {one.controller}: {state}, {len(one.features)} features"
    if not proposals:
        yield "No mesh that is known here. `meshproof mesh init NAME` starts an adapter."
    for proposal in proposals:
        yield ""
        yield f"{proposal.mesh}: {'; '.join(proposal.because)}"
        if proposal.problem:
            yield f"  but {proposal.problem}"
        if proposal.instead_of:
            yield f"  instead of {proposal.instead_of}, if you choose so; --mesh auto does not"
        yield f"  meshproof conformance {shlex.join(proposal.flags)}"
