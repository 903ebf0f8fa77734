"""What the runner makes of what it is told under way."""

from types import SimpleNamespace
from typing import Any

from chaos.experiment import Setup
from chaos.experiments import EXPERIMENTS
from chaos.faults import Sham
from chaos.runner import Recorder, _longest, _patience
from chaos.settings import Settings
from load.remote import Progress
from tests.unit.chaos.helpers import ENDED, traffic


def test_an_answer_is_steady_by_the_time_at_which_it_was_given():
    told = Progress("running", "", 0, 0, traffic(), now=ENDED)  # long before this machine's own time
    job: Any = SimpleNamespace(progress=lambda _: told, spec=SimpleNamespace(rate=100))
    assert Recorder(job).steady(1.0)


def test_the_load_lasts_as_long_as_the_experiment_may_wait_for_its_fault():
    sham, settings = Sham("x", "decoy", "echo-1", 8080), Settings()
    usual, own = (Setup(fault=sham, url="http://echo/", landed_timeout=one) for one in (None, 40.0))
    assert (_patience(usual, settings), _patience(own, settings)) == (settings.landed_timeout, 40.0)
    assert _longest(own, settings) - _longest(usual, settings) == 40.0 - settings.landed_timeout


def test_a_control_plane_has_its_grace_period_to_go():
    scene: Any = SimpleNamespace(adapter=SimpleNamespace(control_plane=lambda: ("mesh", "plane")), space="x")
    assert _patience(EXPERIMENTS["C1"].prepare(scene), Settings()) > 30
