from __future__ import annotations

from typing import Any, cast

import pytest

from refmesh.errors import UsageProblem
from refmesh.injector.templates import FILE
from refmesh.install import manifests, templates
from refmesh.install.check import judge_templates
from refmesh.install.installer import Plan
from refmesh.install.options import Options
from refmesh.kubeclient import Kube, KubeError
from tests.unit.refmesh_injector.pods import CLASSIC, CONFIG

TEXT = "templates: {a: {spec: {containers: [{name: app, env: [{name: x, value: y}]}]}}}"


def given(tmp_path, text: str) -> templates.Given:
    file = tmp_path / "templates.yaml"
    file.write_text(text)
    return templates.load(file)


class Api:
    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.pods: list[Any] = []

    async def request(self, method: str, path: str, body: Any, *, query: dict[str, str]) -> dict[str, Any]:
        assert (method, path) == ("POST", "/api/v1/namespaces/default/pods")
        assert query == {"dryRun": "All", "fieldValidation": "Strict"}
        self.pods.append(body)
        if self.status:
            raise KubeError(self.status, 'unknown field "spec.x"')
        return {}


def test_file_and_field_are_named(tmp_path):
    with pytest.raises(UsageProblem, match=r"templates\.yaml: templates\.a\.spec\.hostNetwork"):
        given(tmp_path, "templates: {a: {spec: {hostNetwork: true}}}")
    with pytest.raises(UsageProblem, match=r"nowhere\.yaml cannot be read: No such file"):
        templates.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
async def test_the_api_server_is_asked_about_a_pod_that_has_what_the_template_adds_to(tmp_path, config):
    api = Api()
    await templates.try_out(cast("Kube", api), given(tmp_path, TEXT), config)
    (pod,) = api.pods
    (app,) = (one for one in pod["spec"]["containers"] if one["name"] == "app")
    assert app == {"name": "app", "image": "app", "env": [{"name": "x", "value": "y"}]}
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


async def test_what_the_api_server_refuses_is_said_and_what_it_forbids_is_not_the_templates_fault(tmp_path):
    with pytest.raises(UsageProblem, match=r'templates\.yaml: templates\.a: .*unknown field "spec\.x"'):
        await templates.try_out(cast("Kube", Api(400)), given(tmp_path, TEXT), CONFIG)
    await templates.try_out(cast("Kube", Api(403)), given(tmp_path, TEXT), CONFIG)


def test_templates_are_part_of_the_plan_and_another_file_is_another_control_plane(tmp_path):
    def made(found: templates.Given) -> tuple[Any, Any]:
        objects = Plan("mesh:1", Options(), given=found).objects()
        (stored,) = (one for one in objects if one["kind"] == "ConfigMap")
        (plane,) = (one for one in objects if one["kind"] == "Deployment")
        return stored["data"][FILE], plane["spec"]["template"]["metadata"].get("annotations")

    none, some, other = (made(templates.load(None)), made(given(tmp_path, TEXT)), made(given(tmp_path, TEXT + "\n")))
    assert none == ("", None)
    assert some[0] == TEXT
    assert some[1] != other[1]


def test_the_control_plane_may_read_its_templates_and_no_other_config_map():
    roles = [one for one in manifests.rbac() if one["kind"] == "Role"]
    rules = [rule for role in roles for rule in role["rules"] if "watch" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in rules] == [["refmesh-injector-templates"]]


def test_check_tells_what_is_in_force():
    assert judge_templates(None) == judge_templates({"data": {FILE: ""}}) == []
    (good,) = judge_templates({"data": {FILE: TEXT}})
    assert good.ok
    (bad,) = judge_templates({"data": {FILE: "templates: {a: {x: 1}}"}})
    assert not bad.ok
    assert "templates.a.x" in bad.detail
