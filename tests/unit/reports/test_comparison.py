"""What changed between two runs, and how sure that is."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshproof_cli import main
from meshproof_cli.processes import module_command, module_environment
from reports.comparison import Comparison, Direction, compare
from reports.data_files import write_json
from reports.errors import ExitCode
from reports.model import ErrorRate, Result, Run, Verdict

RUN = Run("m", "1", "c", {"Kubernetes": "1.34"}, 0, 1, (), (), {}, "0")
P, F, OPEN, U, N = Verdict


def result(verdict: Verdict, name: str = "WT-01", **more: object) -> Result:
    return Result(name, "t", "check", "WT", "core", verdict, "because", **more)  # type: ignore[arg-type]


def run(*results: Result) -> Run:
    return replace(RUN, results=results)


def cost(estimate: float, half: float, name: str = "LAT01") -> Result:
    metrics = {
        "added_p99_us": estimate, "added_p99_low_us": estimate - half, "added_p99_high_us": estimate + half,
        "blocks": 30.0, "proxy_cpu": 0.3,
    }  # fmt: skip
    return Result(name, "t", "measurement", "latency", "core", P, "", metrics=metrics)


@pytest.mark.parametrize(
    ("before", "after", "direction", "code"),
    [
        (P, P, Direction.SAME, 0),
        (F, F, Direction.SAME, 0),
        (P, F, Direction.WORSE, 1),
        (OPEN, F, Direction.WORSE, 1),
        (U, F, Direction.WORSE, 1),
        (P, OPEN, Direction.LOST, 4),
        (P, U, Direction.LOST, 4),
        (P, N, Direction.LOST, 4),
        (F, P, Direction.BETTER, 0),
        (U, P, Direction.BETTER, 0),
        (F, OPEN, Direction.OTHER, 0),
        (OPEN, N, Direction.OTHER, 0),
    ],
)
def test_flips_of_verdicts(before, after, direction, code):
    found = compare(run(result(before)), run(result(after)))
    assert [one.direction for one in found.changes] == [direction]
    assert found.exit_code == code


@pytest.mark.parametrize("verdict", [OPEN, N, F])
def test_a_disturbed_measurement_makes_no_figure_worse(verdict):
    disturbed = replace(cost(5000, 5), verdict=verdict)
    found = compare(run(cost(100, 5)), run(disturbed))
    assert [one.figure for one in found.changes] == [""]


def test_equal_arms_are_no_cost():
    def equal(gap):
        return replace(cost(100, 5), metrics={"aa_p50_us": gap, "aa_p50_low_us": gap - 1, "aa_p50_high_us": gap + 1})

    found = compare(run(equal(-10)), run(equal(10)))
    assert found.exit_code == 0
    assert [one.figure for one in found.changes] == [""]


def test_what_is_judged_in_one_run_only():
    found = compare(run(result(P, "A-1"), result(F, "B-1")), run(result(F, "C-1")))
    assert [(one.id, one.direction) for one in found.changes] == [
        ("A-1", Direction.LOST), ("B-1", Direction.OTHER), ("C-1", Direction.OTHER),
    ]  # fmt: skip
    assert found.exit_code is ExitCode.NOT_PROVEN


def test_a_sham_that_must_stay_open_is_worse_when_it_passes():
    sham = result(OPEN, "A1", expected=OPEN)
    assert compare(run(sham), run(replace(sham, verdict=P))).exit_code is ExitCode.NOT_CONFORMANT
    assert compare(run(replace(sham, verdict=P)), run(sham)).of(Direction.BETTER)


def test_a_mesh_is_not_measured_by_the_negative_control():
    control = result(F, expected=F)
    for one, two in ((result(P), control), (control, result(P))):
        assert [change.direction for change in compare(run(one), run(two)).changes] == [Direction.OTHER]


def test_a_statistical_flip_says_how_likely_chance_is():
    rates = (ErrorRate("t", 1e-5, 1e-3, "5 points", 800), ErrorRate("u", 1e-5, 1e-3, "5 points", 800))
    worse = compare(run(result(P)), run(result(F, error_rates=rates))).changes[0]
    assert "a sound mesh fails with a probability of at most 2e-05" in worse.note
    better = compare(run(result(F)), run(result(P, error_rates=rates))).changes[0]
    assert "a mesh that is off passes with a probability of at most 0.2 %" in better.note


@pytest.mark.parametrize(
    ("before", "after", "direction"),
    [
        (cost(900, 50), cost(930, 50), Direction.NOISE),
        (cost(900, 50), cost(1100, 50), Direction.WORSE),
        (cost(1100, 50), cost(900, 50), Direction.BETTER),
        (cost(900, 500), cost(1100, 50), Direction.NOISE),
        (cost(900, 0), cost(900, 0), Direction.SAME),
    ],
)
def test_figures_differ_only_beyond_their_intervals(before, after, direction):
    verdict, figure = compare(run(before), run(after)).changes
    assert verdict.direction is Direction.SAME
    assert (figure.figure, figure.direction) == ("added_p99_us", direction)


def beside(one: Result, plain: float, half: float = 10.0, level: str = "p50") -> Result:
    """The same with what the requests took without the mesh."""
    there = {
        f"plain_{level}_us": plain, f"plain_{level}_low_us": plain - half, f"plain_{level}_high_us": plain + half,
    }  # fmt: skip
    return replace(one, metrics={**one.metrics, **there})


@pytest.mark.parametrize(
    ("plain", "after", "direction", "said"),
    [
        ((393, 491), 1296, Direction.OTHER, "without the mesh p50 is 25 % slower: another machine"),
        ((491, 393), 600, Direction.OTHER, "without the mesh p50 is 20 % faster: another machine"),
        ((491, 393), 1296, Direction.OTHER, "20 % faster"),
        ((393, 491), 950, Direction.NOISE, "25 % slower"),
        ((393, 400), 1296, Direction.WORSE, ""),
        ((393, 400), 600, Direction.BETTER, ""),
        ((393, 425), 1296, Direction.WORSE, ""),  # beyond noise, and far less than what the proxies add
    ],
)
def test_another_machines_speed_is_no_change_of_the_mesh(plain, after, direction, said):
    before, later = (beside(cost(figure, 50), each) for figure, each in zip((925, after), plain, strict=True))
    found = compare(run(before), run(later))
    verdict, figure = found.changes
    assert (verdict.direction, figure.figure) == (Direction.SAME, "added_p99_us")
    assert figure.direction is direction
    assert said in figure.note
    assert ("without the mesh" in figure.note) is bool(said)
    assert found.exit_code == (1 if direction is Direction.WORSE else 0)


def test_a_tail_that_is_uncertain_makes_no_other_machine():
    before, later = (beside(cost(925 + more, 50), 2000 + 10 * more, 3000, "p99") for more in (0, 371))
    assert [one.direction for one in compare(run(before), run(later)).of(Direction.WORSE)] == [Direction.WORSE]


def test_runs_that_measured_in_different_ways_are_neither_better_nor_worse():
    for one, two in ((cost(900, 50), beside(cost(1300, 50), 393)), (beside(cost(900, 50), 393), cost(1300, 50))):
        _, figure = compare(run(one), run(two)).changes
        assert figure.direction is Direction.OTHER
        assert "measured in another way" in figure.note


def test_stalls_that_the_other_run_may_have_missed_are_noise():
    """Two blocks of twelve stalled: so many resamples have none that the interval reaches down to the other run's."""
    none = {"added_p99_us": 300.0, "added_p99_low_us": 299.0, "added_p99_high_us": 301.0}
    some = {"added_p99_us": 190_000.0, "added_p99_low_us": 300.0, "added_p99_high_us": 230_000.0}
    quiet, stalled = (run(replace(cost(0, 0), metrics=metrics)) for metrics in (none, some))
    for one, two in ((quiet, stalled), (stalled, quiet)):
        assert [change.direction for change in compare(one, two).changes] == [Direction.SAME, Direction.NOISE]


def test_many_figures_of_one_mesh_are_hardly_ever_told_apart():
    draw, told = random.Random(7), 0
    rounds, half = 400, 1.96
    for _ in range(rounds):
        one, two = ([cost(draw.gauss(0, 1), half, f"M{number}") for number in range(20)] for _ in range(2))
        told += bool(compare(run(*one), run(*two)).of(Direction.WORSE, Direction.BETTER))
    assert told / rounds < 0.08  # 5 %, and 20 uncorrected comparisons would give 64 %


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=6), st.lists(st.sampled_from(Verdict), max_size=6))
def test_every_id_has_one_verdict_and_a_run_is_its_own_equal(old, new):
    before = run(*(result(one, f"X-{number}") for number, one in enumerate(old)))
    after = run(*(result(one, f"X-{number}") for number, one in enumerate(new)))
    assert len(compare(before, after).changes) == max(len(old), len(new))
    same = compare(before, before)
    assert {one.direction for one in same.changes} == {Direction.SAME}
    assert same.sentence == "Nothing changed."


def test_what_else_differs_is_said():
    other = replace(RUN, mesh_version="2", environment={"Kubernetes": "1.35"}, options={"profile": "full"})
    assert compare(RUN, other).differences == {
        "mesh version": ("1", "2"),
        "Kubernetes": ("1.34", "1.35"),
        "option profile": ("", "full"),
    }


def call(capsys, *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main.main(["compare", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_a_reader_that_went_away_and_an_old_encoding_change_no_exit_code(tmp_path):
    one = replace(result(P), title="…")
    path = str(write_json(run(one), tmp_path).parent)
    environment = module_environment([("PYTHONIOENCODING", "latin-1")])
    read, write = os.pipe()
    os.close(read)
    for words in (("compare", path, path, "--all"), ("report", path, "-f", "table")):
        gone, there = (
            subprocess.run(
                module_command("meshproof_cli", *words),
                stdout=target, stderr=subprocess.PIPE, env=environment, timeout=240, check=False,
            )
            for target in (write, subprocess.PIPE)
        )  # fmt: skip
        assert (gone.returncode, gone.stderr) == (there.returncode, there.stderr) == (0, b"")
        assert b"WT-01" in there.stdout
    os.close(write)


def test_a_table_never_steers_the_terminal(tmp_path, capsys):
    paths = []
    for place, name in (("a", "\x1b]0;title\x07"), ("b", "WT-01")):
        paths.append(str(write_json(replace(run(result(P, name)), mesh=name), tmp_path / place).parent))
    _, out, _ = call(capsys, *paths, "--all")
    assert "title" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_the_command(tmp_path, capsys):
    paths = []
    for name, runs in (("a", run(result(P), cost(900, 50))), ("b", run(result(F), cost(905, 50)))):
        paths.append(str(write_json(runs, tmp_path / name).parent))
    code, out, _ = call(capsys, *paths)
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["worse", "WT-01"], ["noise", "LAT01"]]
    assert "1 got worse, 1 differ by no more than noise." in out
    code, out, _ = call(capsys, *reversed(paths), "-o", "json")
    assert code == 0
    assert json.loads(out)["summary"]["better"] == 1
    code, out, _ = call(capsys, paths[0], f"{paths[0]}/results.json", "-o", "yaml")
    assert code == 0
    assert yaml.safe_load(out)["summary"]["same"] == 3
    code, _, err = call(capsys, paths[0], "/no/such")
    assert code == 2
    assert "cannot read /no/such" in err
    assert isinstance(compare(RUN, RUN), Comparison)
