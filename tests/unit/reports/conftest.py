"""Hypothesis strategies for the result model, hostile text included; tests ask for them by `st.from_type`."""

from __future__ import annotations

from hypothesis import strategies as st

from reports.model import ErrorRate, Evidence, Plot, Result, Run, Stage, Verdict

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]></style></script>",
    "::error::forged\n::set-env name=A::b",
    "| a | b |\n<details>",
    "{{ 7*7 }}{% raw %}",
    "\x00\x1b[31m\x07\r\n\ufffe",
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
)
text = st.one_of(st.text(max_size=20), st.sampled_from(HOSTILE))
number = st.floats(min_value=0, max_value=1e9, allow_nan=False)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), number, text)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)
verdicts = st.sampled_from(list(Verdict))
points = st.lists(st.tuples(st.floats(0, 100), number).map(list), max_size=6)
timelines = st.builds(
    lambda series, windows, marks: {"series": series, "windows": windows, "marks": marks},
    st.lists(st.builds(lambda n, u, p: {"name": n, "unit": u, "points": p}, text, text, points), max_size=2),
    st.lists(st.builds(lambda n, s, e: {"name": n, "start": s, "end": e}, text, number, number), max_size=2),
    st.lists(st.builds(lambda n, t: {"name": n, "t": t}, text, number), max_size=2),
)
percentiles = st.builds(
    lambda arms: {"arms": arms},
    st.lists(st.builds(lambda n, u, p: {"name": n, "unit": u, "points": p}, text, text, points), max_size=3),
)
plots = st.one_of(
    st.builds(Plot, kind=st.just("timeline"), title=text, data=timelines),
    st.builds(Plot, kind=st.just("percentiles"), title=text, data=percentiles),
    st.builds(Plot, kind=st.sampled_from(["timeline", "percentiles"]), title=text, data=json_values),
)
rates = st.builds(
    ErrorRate,
    test=text,
    alpha=st.floats(0, 1),
    beta=st.none() | st.floats(0, 1),
    detectable=text,
    samples=st.integers(0, 10**9),
)
results = st.builds(
    Result,
    id=text,
    title=text,
    kind=st.sampled_from(["check", "experiment", "measurement"]),
    group=text,
    level=st.sampled_from(["core", "extended"]),
    verdict=verdicts,
    reason=text,
    proves=st.lists(text, max_size=2).map(tuple),
    requires=st.lists(text, max_size=2).map(tuple),
    reference=text,
    started=number,
    seconds=number,
    evidence=st.lists(st.builds(Evidence, title=text, data=json_values), max_size=2).map(tuple),
    error_rates=st.lists(rates, max_size=2).map(tuple),
    plots=st.lists(plots, max_size=2).map(tuple),
    reproduce=text,
    metrics=st.dictionaries(text, number, max_size=2),
    expected=st.sampled_from([Verdict.PASS, Verdict.INCONCLUSIVE]),
)
stages = st.builds(Stage, name=text, seconds=number, detail=text, problem=text)
runs = st.builds(
    Run,
    mesh=text,
    mesh_version=text,
    cluster=text,
    environment=st.dictionaries(text, text, max_size=2),
    started=number,
    seconds=number,
    stages=st.lists(stages, max_size=2).map(tuple),
    results=st.lists(results, max_size=3).map(tuple),
    options=st.dictionaries(text, json_values, max_size=2),
    product_version=text,
)

st.register_type_strategy(Result, results)
st.register_type_strategy(Run, runs)
