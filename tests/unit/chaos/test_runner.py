"""What the runner makes of what it is told under way."""

from types import SimpleNamespace
from typing import Any

from chaos.runner import Recorder
from load.remote import Progress
from tests.unit.chaos.helpers import ENDED, traffic


def test_an_answer_is_steady_by_the_time_at_which_it_was_given():
    told = Progress("running", "", 0, 0, traffic(), now=ENDED)  # long before this machine's own time
    job: Any = SimpleNamespace(progress=lambda _: told, spec=SimpleNamespace(rate=100))
    assert Recorder(job).steady(1.0)
