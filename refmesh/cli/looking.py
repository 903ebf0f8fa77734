"""`refmesh proxy-status`, `proxy-config`, `authz check` and `dashboard`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from refmesh.cli.common import Context, Form, Kubeconfig, Output, app, dump, pod_named, run, say, show
from refmesh.errors import UsageProblem
from refmesh.install import dashboard as page
from refmesh.install import proxies
from refmesh.install.authz import speaking

__all__: list[str] = []

Pod = Annotated[str, typer.Argument(help="Pod, or POD.NAMESPACE.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The pod's namespace.")]
Part = Annotated[str, typer.Argument(help=", ".join(proxies.PARTS), autocompletion=lambda: list(proxies.PARTS))]


@app.command("proxy-status")
def proxy_status(output: Form = Output.TABLE, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Show what each connected proxy was sent and has acknowledged."""
    show(run(kubeconfig, context, proxies.proxy_status), output)


@app.command("proxy-config")
def proxy_config(
    part: Part,
    pod: Pod,
    namespace: Namespace = "default",
    output: Form = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the configuration that a proxy has in force."""
    chosen = part.rstrip("s")
    if chosen not in proxies.PARTS:
        raise UsageProblem(f"There is no part {part!r}.", fix=f"Choose one of {', '.join(proxies.PARTS)}.")
    name, home = pod_named(pod, namespace)
    found = run(kubeconfig, context, lambda kube: proxies.envoy_config(kube, name, home))
    if output is Output.TABLE and chosen != "bootstrap":
        show(proxies.rows_of(found, chosen), output)
    else:
        dump(proxies.section(found, chosen), output)


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
        say("Press Ctrl+C to end.")
        if browser and sys.stdout.isatty():
            typer.launch(address)

    run(kubeconfig, context, lambda kube: page.show(kube, what, port, tell))


authz = typer.Typer(no_args_is_help=True, help="Look at authorization.")
app.add_typer(authz, name="authz")


@authz.command("check")
def authz_check(
    pod: Pod,
    namespace: Namespace = "default",
    output: Form = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the AuthorizationPolicies that speak at a pod, in the order in which they are asked."""
    name, home = pod_named(pod, namespace)
    rows = run(kubeconfig, context, lambda kube: speaking(kube, name, home))
    if not rows and output is Output.TABLE:
        say("No AuthorizationPolicy speaks at this pod: everything is allowed.")
    else:
        show(rows, output)
