"""The negative control: on plain Kubernetes no experiment passes, and nothing is left behind."""

import pytest

import chaos
from chaos.faults.space import SPACE_PREFIX
from chaos.log import LOG_NAMESPACE
from chaos.settings import Settings
from fixtures.kube import Kube
from reports.model import Verdict

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chaos")]


def test_no_experiment_passes_without_a_mesh(cluster, image):
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    chaos.restore(kube, force=True)
    results = chaos.run(kube, "none", image, settings=Settings(strict_timeout=20))
    assert [r.id for r in results] == ["C1", "P1", "N1", "A1"]
    assert {r.verdict for r in results if r.id != "A1"} == {Verdict.FAIL}
    assert "plaintext" in results[0].reason
    assert results[-1].verdict is Verdict.NOT_RUN
    for space in kube.list("v1", "Namespace"):
        name = space["metadata"]["name"]
        if name == LOG_NAMESPACE or name.startswith(SPACE_PREFIX):
            kube.wait_gone("v1", "Namespace", name, timeout=240)
