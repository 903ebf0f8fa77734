"""The command line of refmesh: install, uninstall, check, inject, defects; istioctl's words where it has them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import aiohttp
import typer
import yaml

from refmesh import bug_report_cli, ca_cli, defects
from refmesh.errors import RefmeshError, UsageProblem
from refmesh.injector.containers import secret_names
from refmesh.injector.patch import BadPod, Config
from refmesh.injector.templates import CONFIG_MAP, of_config_map
from refmesh.install import dashboard as page
from refmesh.install import installer, options, proxies, templates, validation
from refmesh.install.authz import speaking
from refmesh.install.check import check as look
from refmesh.install.default_image import default_image
from refmesh.install.offline import inject_object, offline_config
from refmesh.kubeclient import Kube, KubeError
from refmesh.terminal import has_terminal, read_input

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["app", "main"]

T = TypeVar("T")


class Output(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


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


PROGRAM = os.environ.get("REFMESH_PROGRAM") or "refmesh"
"""What the user typed to get here. A program that starts us under a name of its own completes that itself."""

app = typer.Typer(
    name="refmesh",
    help="A small, complete service mesh: install it, look after it, learn from it.",
    no_args_is_help=True,
    add_completion=PROGRAM == "refmesh",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file; KUBECONFIG otherwise.")]
Context = Annotated[str | None, typer.Option("--context", help="Context in the kubeconfig; the current one otherwise.")]
Form = Annotated[Output, typer.Option("--output", "-o", help="table, json or yaml.")]
Templates = Annotated[Path | None, typer.Option("--injector-templates", help="YAML file of the injector's templates.")]
Profile = Annotated[
    str | None,
    typer.Option("--profile", help=f"{', '.join(options.PROFILES)}.", autocompletion=lambda: sorted(options.PROFILES)),
]
Part = Annotated[str, typer.Argument(help=", ".join(proxies.PARTS), autocompletion=lambda: list(proxies.PARTS))]
Yes = Annotated[bool, typer.Option("--yes", "-y", "--skip-confirmation", help="Do not ask.")]


def _say(text: str) -> None:
    """Progress goes to standard error, results to standard output."""
    typer.echo(text, err=True)


def _run(kubeconfig: Path | None, context: str | None, work: Callable[[Kube], Awaitable[T]]) -> T:
    async def body() -> T:
        kube = Kube.from_kubeconfig(kubeconfig, context)
        try:
            await installer.reachable(kube)
            return await work(kube)
        finally:
            await kube.close()

    try:
        return asyncio.run(body())
    except KeyboardInterrupt:
        _say("Interrupted. Run the same command again to complete it.")
        raise typer.Exit(code=130) from None


def _show(rows: list[dict[str, Any]], form: Output) -> None:
    """Write rows of equal keys as a table, JSON or YAML."""
    if form is Output.JSON:
        typer.echo(json.dumps(rows, indent=2))
    elif form is Output.YAML:
        typer.echo(yaml.safe_dump(rows, sort_keys=False), nl=False)
    elif not rows:
        _say("There is nothing to show.")
    else:
        heads = list(rows[0])
        widths = [max(len(head), *(len(str(row[head])) for row in rows)) for head in heads]
        for line in [heads, *([str(row[head]) for head in heads] for row in rows)]:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _confirm(question: str, yes: bool) -> None:
    """Ask a person; a script that calls this command has decided already."""
    if not yes and has_terminal() and not typer.confirm(question):
        raise typer.Exit(code=1)


@app.command()
def install(
    image: Annotated[
        str | None,
        typer.Option(
            "--image", help="Image of control plane and proxies; without, one is built where it can be loaded."
        ),
    ] = None,
    profile: Profile = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, may be repeated.")] = None,
    defect: Annotated[
        str | None, typer.Option("--defect", help="Switch on one seeded defect (refmesh defects).")
    ] = None,
    injector_templates: Templates = None,
    gateway_api_crds: Annotated[Path | None, typer.Option(help="File or folder with Gateway API's CRDs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects and change nothing.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds until the control plane must serve.", min=1.0)] = 120.0,
    output: Form = Output.TABLE,
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Install refmesh on a cluster (or bring an installation up to date) and wait until it serves."""
    chosen = options.parse(profile, settings or [])
    if defect is not None:
        # here as well as in the control plane: the webhook's selectors come from a seam
        defects.switch_on(defect)
    given = image or os.environ.get("REFMESH_IMAGE")
    named = installer.check_image(given or default_image(kubeconfig, context, load=False))
    plan = installer.Plan(named, chosen, defect, gateway_api_crds, timeout, templates.load(injector_templates))
    if dry_run:
        objects = plan.objects()
        as_json = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2)
        typer.echo(as_json if output is Output.JSON else yaml.safe_dump_all(objects, sort_keys=False).rstrip())
        return
    _confirm(f"This installs refmesh (profile {chosen.profile}) on the cluster. Go on?", yes)
    if not given:  # not before somebody agreed: the nodes keep what is loaded
        named = installer.check_image(default_image(kubeconfig, context, load=True))
        plan = replace(plan, image=named)
    started = time.monotonic()
    _run(kubeconfig, context, lambda kube: installer.install(kube, plan, lambda text: _say(f"  ✔ {text}")))
    seconds = round(time.monotonic() - started, 2)
    if output is Output.TABLE:
        _say(
            f"refmesh serves after {seconds} s. Label a namespace: kubectl label namespace NAME istio-injection=enabled"
        )
    else:
        _show([{"installed": True, "image": named, "profile": chosen.profile, "seconds": seconds}], output)


@app.command()
def uninstall(
    purge: Annotated[bool, typer.Option("--purge", help="Delete the kinds even if there are objects of them.")] = False,
    defect: Annotated[str | None, typer.Option("--defect", hidden=True)] = None,
    output: Form = Output.TABLE,
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take refmesh off a cluster. Injected pods keep their proxy until they are created anew."""
    if defect is not None:  # one of a seeded uninstaller
        defects.switch_on(defect)
    _confirm("This removes refmesh from the cluster. Go on?", yes)
    removed, left = list[str](), list[str]()

    def tell(kept: list[str], sign: str, text: str) -> None:
        kept.append(text)
        _say(f"  {sign} {text}")

    report, note = partial(tell, removed, "✔"), partial(tell, left, "–")
    _run(kubeconfig, context, lambda kube: installer.uninstall(kube, report, note, purge=purge))
    _say("refmesh is gone.")
    if output is not Output.TABLE:
        _show([{"uninstalled": True, "removed": removed, "left": left}], output)


@app.command()
def check(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Look whether the mesh is well; exit code 1 if something is not."""
    findings = _run(kubeconfig, context, look)
    if output is Output.TABLE:
        for finding in findings:
            typer.echo(f"{'ok    ' if finding.ok else 'not ok'}  {finding.name}: {finding.detail}")
    else:
        _show([{"name": f.name, "ok": f.ok, "detail": f.detail} for f in findings], output)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(code=1)


@app.command("defects")
def list_defects(output: Form = Output.TABLE) -> None:
    """List the seeded defects, and the variants that behave as the sound mesh, that `install --defect NAME` takes."""
    kinds = (("defect", defects.catalogue()), ("equivalent", defects.equivalents()))
    rows = [
        {"name": one.name, "kind": kind, "capability": one.capability, "seam": one.seam, "summary": one.summary}
        for kind, all_of_them in kinds
        for one in all_of_them
    ]
    if output is Output.TABLE:
        rows = [{head: value for head, value in row.items() if head != "seam"} for row in rows]
    _show(rows, output)


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
        config = _run(kubeconfig, context, lambda kube: _config(kube, image, sidecar, capture, trust_domain))
    if given is not None:
        config = replace(config, templates=given)
    try:
        injected = [inject_object(document, config, _warn) for document in documents]
    except BadPod as error:
        raise UsageProblem(f"{file}: {error}.") from error
    if output is Manifests.JSON:
        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": injected}, indent=2))
    else:
        typer.echo(yaml.safe_dump_all(injected, sort_keys=False), nl=False)


def _warn(text: str) -> None:
    typer.echo(f"Warning: {text}", err=True)


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


@app.command("proxy-status")
def proxy_status(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Show what each connected proxy was sent and has acknowledged."""
    _show(_run(kubeconfig, context, proxies.proxy_status), output)


@app.command("proxy-config")
def proxy_config(
    part: Part,
    pod: Annotated[str, typer.Argument(help="Pod, or POD.NAMESPACE.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The pod's namespace.")] = "default",
    output: Form = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the configuration that a proxy has in force."""
    chosen = part.rstrip("s")
    if chosen not in proxies.PARTS:
        raise UsageProblem(f"There is no part {part!r}.", fix=f"Choose one of {', '.join(proxies.PARTS)}.")
    name, home = _pod(pod, namespace)
    dump = _run(kubeconfig, context, lambda kube: proxies.envoy_config(kube, name, home))
    if output is Output.TABLE and chosen != "bootstrap":
        _show(proxies.rows_of(dump, chosen), output)
    else:
        _dump(proxies.section(dump, chosen), output)


def _pod(said: str, namespace: str) -> tuple[str, str]:
    """Name and namespace of a pod given as POD or POD.NAMESPACE."""
    name, dot, rest = said.partition(".")
    return name, rest if dot else namespace


def _dump(value: Any, form: Output) -> None:
    typer.echo(yaml.safe_dump(value, sort_keys=False) if form is Output.YAML else json.dumps(value, indent=2))


@app.command()
def dashboard(
    what: Annotated[page.Page, typer.Argument(help="mesh, or prometheus if it is installed.")] = page.Page.MESH,
    port: Annotated[int, typer.Option("--port", "-p", help="Local port; 0 takes a free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show traffic, access logs, configuration and certificates of the mesh in a browser, until interrupted."""

    def tell(address: str) -> None:
        typer.echo(address)
        _say("Press Ctrl+C to end.")
        if browser and sys.stdout.isatty():
            typer.launch(address)

    _run(kubeconfig, context, lambda kube: page.show(kube, what, port, tell))


@app.command()
def version(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Show the image of the installed control plane."""
    image = _run(kubeconfig, context, installer.installed_image)
    _show([{"control plane": image or "not installed"}], output)


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
        _say(f"{known - sum(item.known for item in bad)} of {known} objects are good{others}.")
    else:
        _show([asdict(item) for item in found], output)
    if bad:
        raise typer.Exit(code=1)


authz = typer.Typer(no_args_is_help=True, help="Look at authorization.")
app.add_typer(authz, name="authz")


@authz.command("check")
def authz_check(
    pod: Annotated[str, typer.Argument(help="Pod, or POD.NAMESPACE.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The pod's namespace.")] = "default",
    output: Form = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the AuthorizationPolicies that speak at a pod, in the order in which they are asked."""
    name, home = _pod(pod, namespace)
    rows = _run(kubeconfig, context, lambda kube: speaking(kube, name, home))
    if not rows and output is Output.TABLE:
        _say("No AuthorizationPolicy speaks at this pod: everything is allowed.")
    else:
        _show(rows, output)


ca_cli.mount(app, _run)
bug_report_cli.mount(app, _run)


def main() -> NoReturn:
    """Run the command line; a user's mistake ends in one sentence and exit code 2 or 3, never in a traceback."""
    try:
        app(standalone_mode=True, prog_name=PROGRAM)  # else `python -m refmesh`, which is no word that completes
    except RefmeshError as error:
        _say(f"refmesh: {error}")
        # what the API server refuses is a matter of the surroundings
        sys.exit(3 if isinstance(error, KubeError) else error.exit_code)
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or "it took too long"
        _say(f"refmesh: The API server does not answer: {why}. Check --kubeconfig and --context.")
        sys.exit(3)
    except PermissionError as error:
        if error.filename is None:
            raise
        _say(f"refmesh: {error.filename} cannot be used: {error.strerror}.")
        sys.exit(3)
    sys.exit(0)
