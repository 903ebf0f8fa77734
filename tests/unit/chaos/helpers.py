"""Hand-made histories."""

from dataclasses import replace

from chaos.experiments import c1
from chaos.model import ATTACKS, Attempt, History, Marks, Sample

MARKS = ("started", "undone", "recovered", "ended", "steady", "ready")
START, INJECTED, UNDONE, ENDED = 1000.0, 1002.0, 1006.0, 1008.0
AWAY = {"control plane": "mesh/plane", c1.ASKED: 9, c1.TOLD: 0}
"""What C1 notes where proxies are without a control plane."""


def sample(at, *, took=0.005, status=200, error=None, pod="echo-1"):
    return Sample(at, at, took, status if error is None else None, error, pod if error is None else None)


def traffic(start=START, end=ENDED, rate=100, **wanted):
    count = round((end - start) * rate)
    return tuple(sample(start + index / rate, **wanted) for index in range(count))


def refusals(start=START, end=ENDED, every=0.25):
    return tuple(
        Attempt(start + index * every, attack, True, False, "reset")
        for index in range(round((end - start) / every))
        for attack in ATTACKS
    )


def history(**changes):
    """A calm history: steady traffic, every attack refused, the fault landed and was taken back."""
    calm = History(
        samples=traffic(),
        attempts=refusals(),
        marks=Marks(START, INJECTED, INJECTED + 0.5, UNDONE, UNDONE + 0.3, ENDED, ready=UNDONE),
        landed="it shows",
        arrivals=900,
        sent=900,
    )
    marks = {name: changes.pop(name) for name in MARKS if name in changes}
    return replace(calm, marks=replace(calm.marks, **marks), **changes)


def replaced(samples, start, end, **wanted):
    """The same traffic, with other outcomes within [start, end)."""
    return tuple(sample(s.intended, **wanted) if start <= s.intended < end else s for s in samples)


def frozen(samples, start, end):
    """The same traffic, but whatever was due within [start, end) is answered at its end."""
    return tuple(sample(s.intended, took=end - s.intended) if start <= s.intended < end else s for s in samples)
