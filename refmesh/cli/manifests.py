"""`refmesh inject` and `validate`: what the webhooks do, on files."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from refmesh.cli.common import Context, Form, Kubeconfig, Output, Templates, app, dump_objects, run, say, show
from refmesh.errors import UsageProblem
from refmesh.injector.containers import secret_names
from refmesh.injector.patch import BadPod, Config
from refmesh.injector.templates import CONFIG_MAP, of_config_map
from refmesh.install import installer, options, templates, validation
from refmesh.install.offline import inject_object, offline_config
from refmesh.kubeclient import Kube
from refmesh.terminal import read_input

__all__: list[str] = []


class Manifests(StrEnum):
    """How objects are written."""

    YAML = "yaml"
    JSON = "json"


class Sidecar(StrEnum):
    """The two forms of a proxy's container."""

    NATIVE = "native"
    CLASSIC = "classic"


class Capture(StrEnum):
    """Who captures the traffic of injected pods."""

    POD = "pod"
    NODE = "node"


@app.command()
def inject(
    file: Annotated[str, typer.Option("--filename", "-f", help="YAML with pods or workloads; - for standard input.")],
    image: Annotated[
        str | None, typer.Option("--image", help="Image of the proxy; the installed one otherwise.")
    ] = None,
    sidecar: Annotated[
        Sidecar | None, typer.Option("--sidecar", help="Form of the proxy; the installed mesh's otherwise, or native.")
    ] = None,
    capture: Annotated[
        Capture | None,
        typer.Option("--capture", help="Who captures traffic; as the installed mesh has it otherwise, or the pod."),
    ] = None,
    injector_templates: Templates = None,
    root_cert: Annotated[
        Path | None,
        typer.Option("--root-cert", help="File with the mesh's roots (PEM): with it and --image no cluster is needed."),
    ] = None,
    trust_domain: Annotated[
        str | None, typer.Option("--trust-domain", help="The installed mesh's otherwise, or cluster.local.")
    ] = None,
    output: Annotated[Manifests, typer.Option("--output", "-o", help="yaml or json.")] = Manifests.YAML,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Inject the pods of a file without the webhook, and print the result.

    What is printed has the mesh's roots of this moment: after a rotation of the root, inject the file again.
    """
    try:
        text = read_input() if file == "-" else Path(file).read_text(encoding="utf-8")
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{file} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise UsageProblem(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not all(isinstance(document, dict) for document in documents):
        raise UsageProblem(f"{file} has a document that is no Kubernetes object.")
    given = templates.load(injector_templates).templates if injector_templates else None
    if root_cert is not None:
        named = image or os.environ.get("REFMESH_IMAGE")
        native, by_node = sidecar is not Sidecar.CLASSIC, capture is Capture.NODE
        config = offline_config(root_cert, named, trust_domain, native=native, by_node=by_node)
    else:
        config = run(kubeconfig, context, lambda kube: _config(kube, image, sidecar, capture, trust_domain))
    if given is not None:
        config = replace(config, templates=given)
    try:
        injected = [inject_object(document, config, _warn) for document in documents]
    except BadPod as error:
        raise UsageProblem(f"{file}: {error}.") from error
    dump_objects(injected, as_json=output is Manifests.JSON)


def _warn(text: str) -> None:
    say(f"Warning: {text}")


async def _config(
    kube: Kube, image: str | None, sidecar: Sidecar | None, capture: Capture | None, trust_domain: str | None
) -> Config:
    """The installed mesh's image, root, trust domain, form of sidecars, who captures, and templates."""
    roots = await kube.get("v1", "configmaps", "refmesh-ca-root-cert", options.NAMESPACE)
    found = await installer.installed(kube)
    named = image or (found.image if found else None)
    if roots is None or named is None:
        raise UsageProblem("refmesh is not installed on this cluster.", fix="Run refmesh install first.")
    stored = await kube.get("v1", "configmaps", CONFIG_MAP, options.NAMESPACE)
    form = sidecar or (found.argument("--sidecar") if found else "")
    domain = trust_domain or (found.argument("--trust-domain") if found else "")
    return Config(
        image=named,
        root_pem=str(roots["data"]["root-cert.pem"]),
        trust_domain=domain or Config.trust_domain,
        native=form != Sidecar.CLASSIC,
        by_node=(capture or (found.argument("--capture") if found else "")) == Capture.NODE,
        pull_secrets=secret_names(found.argument("--image-pull-secrets") if found else ""),
        templates=of_config_map(stored),
    )


@app.command()
def validate(
    files: Annotated[
        list[str], typer.Option("--filename", "-f", help="YAML file, folder, or - for standard input; may be repeated.")
    ],
    output: Form = Output.TABLE,
) -> None:
    """Judge objects as the webhook would, without a cluster; exit code 1 if one could not be put in force.

    A note says what does nothing beside the other objects of the files.
    """
    found = validation.validate(files)
    bad = [item for item in found if item.problem]
    if output is Output.TABLE:
        for item in bad:
            typer.echo(f"{item.file}: {item.kind} {item.name}: {item.problem}")
        for item in found:
            for note in item.notes:
                typer.echo(f"{item.file}: {item.kind} {item.name}: note: {note}")
        known = sum(item.known for item in found)
        others = f"; {len(found) - known} of kinds that refmesh does not read" if known < len(found) else ""
        say(f"{known - sum(item.known for item in bad)} of {known} objects are good{others}.")
    else:
        show([asdict(item) for item in found], output)
    if bad:
        raise typer.Exit(code=1)
