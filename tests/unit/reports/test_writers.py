"""The report writers: complete, well-formed, and deaf to whatever a field may hold."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from allure_commons import model2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.allure import write_allure
from reports.badge import badge_svg
from reports.data_files import json_text, read_results, write_json, yaml_text
from reports.errors import EnvironmentProblem, UsageProblem
from reports.files import MARKER, claim_directory, clear_directory, held_directory, write_text
from reports.github import commands, publish, summary_markdown
from reports.html import html_text
from reports.junit import junit_text
from reports.model import JSON, ErrorRate, Evidence, Result, Run, Stage, Verdict, to_json
from reports.page import asset
from reports.table import plain_table, print_table, rich_table
from reports.words import clean, inert, line
from reports.writers import FORMATS, write

RUNS = st.from_type(Run)
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def result(verdict: Verdict = Verdict.PASS, name: str = "WT-01", **changes: object) -> Result:
    base = Result(name, "two-way split", "check", "WT", "core", verdict, "because")
    return replace(base, **changes)  # type: ignore[arg-type]


def run(*found: Result) -> Run:
    return Run("refmesh", "1", "embedded", {"kernel": "6"}, 1e9, 5.0, (Stage("mesh", 1.0),), found, {}, "0.1.0")


class Page(HTMLParser):
    """Collects what a browser would see as elements and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        self.words.append(data)


PAGE_TAGS = {
    "b", "body", "button", "code", "dd", "details", "div", "dl", "dt", "em", "figcaption", "figure", "footer",
    "h1", "h2", "h3", "h4", "head", "header", "html", "i", "input", "main", "meta", "nav", "p", "pre",
    "script", "section", "span", "strong", "style", "summary", "table", "tbody", "td", "th", "thead", "title",
    "tr", "select", "option", "line", "path", "rect", "svg", "text",
}  # fmt: skip


@given(RUNS)
@few
def test_nothing_in_a_run_becomes_markup(value: Run) -> None:
    page = Page(html_text(value))
    assert set(page.tags) <= PAGE_TAGS
    assert page.tags.count("script") == 1
    assert page.tags.count("style") == 1
    assert "".join(page.scripts) == asset("report.js")
    names = {name for _, name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"href", "src", "srcdoc", "action", "formaction", "style", "xlink:href"}


def test_page_asks_nobody_for_anything() -> None:
    text = html_text(run(result()))
    policies = [value for tag, name, value in Page(text).attributes if tag == "meta" and name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policies)
    assert not re.search(r"https?://", text)
    assert "@import" not in text
    assert "url(" not in text


def test_page_says_what_was_found() -> None:
    rows: list[JSON] = [{"status": 200, "pod": "echo-1"}] * 200
    found = result(
        Verdict.FAIL,
        evidence=(Evidence("records", rows), Evidence("log", "line one"), Evidence("facts", {"cipher": "AES"})),
        reproduce="meshproof run --only WT-01",
    )
    words = " ".join(Page(html_text(run(found))).words)
    for expected in (
        "not conformant", "WT-01", "because", "echo-1", "line one", "AES", "meshproof run --only WT-01", "of 200",
    ):  # fmt: skip
        assert expected in words


def test_what_scrolls_can_be_reached_without_a_pointer() -> None:
    rows: list[JSON] = [{"status": 200}]
    rates = (ErrorRate("exact", 1e-5, None, "5 points", 800),)
    shown = (Evidence("records", rows), Evidence("log", "one"))
    made = result(Verdict.FAIL, evidence=shown, error_rates=rates, reproduce="meshproof run")
    found = re.findall(r'<\w+ class="scroll"[^>]*>', html_text(run(made)))
    assert len(found) == 4
    for one in found:
        assert 'tabindex="0" role="region" aria-label="' in one


@given(RUNS)
@few
def test_junit_is_well_formed_and_counts(value: Run) -> None:
    root = ET.fromstring(junit_text(value).encode())
    cases = len(value.results) + sum(bool(stage.problem) for stage in value.stages)
    assert len(root.findall("./testsuite/testcase")) == cases == int(root.get("tests", "-1"))
    assert len(root.findall(".//failure")) == sum(one.failed for one in value.results)
    assert len(root.findall(".//failure")) == int(root.get("failures", "-1"))


@pytest.mark.parametrize(
    ("found", "tag"),
    [
        (result(), None),
        (result(Verdict.FAIL), "failure"),
        (result(Verdict.INCONCLUSIVE), "error"),
        (result(Verdict.INCONCLUSIVE, expected=Verdict.INCONCLUSIVE), None),
        (result(Verdict.PASS, expected=Verdict.INCONCLUSIVE), "failure"),
        (result(Verdict.UNSUPPORTED), "skipped"),
        (result(Verdict.NOT_RUN), "skipped"),
    ],
)
def test_junit_outcome(found: Result, tag: str | None) -> None:
    case = ET.fromstring(junit_text(run(found)).encode()).find("./testsuite/testcase")
    assert case is not None
    assert [one.tag for one in case if one.tag != "system-out"] == ([tag] if tag else [])


def test_a_stage_that_broke_off_is_no_success_anywhere(tmp_path: Path) -> None:
    ended = replace(run(result()), stages=(Stage("cluster", 1.0), Stage("chaos", 2.0, problem="it is gone")))
    root = ET.fromstring(junit_text(ended).encode())
    assert root.get("errors") == "1"
    assert [one.get("message") for one in root.iter("error")] == ["inconclusive: it broke off: it is gone"]
    documents = [json.loads(file.read_text()) for file in write_allure(ended, tmp_path).glob("*-result.json")]
    assert sorted(one["status"] for one in documents) == ["broken", "passed"]


@given(RUNS)
@few
def test_yaml_and_json_are_the_same_document(value: Run) -> None:
    assert yaml.safe_load(yaml_text(value)) == json.loads(json_text(value)) == to_json(value)


@given(RUNS)
@few
def test_github_output_cannot_be_forged(value: Run) -> None:
    lines = commands(value)
    assert len(lines) == sum(one.failed or one.unproven for one in value.results)
    assert all("\n" not in line and "\r" not in line for line in lines)
    assert all(re.match(r"::(error|warning) title=[^:]*::", line) for line in lines)
    summary = summary_markdown(value)
    rows = [line for line in summary.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(value.results)
    assert all(len(re.findall(r"\|", row)) == 6 for row in rows)
    assert not re.search(r"<(?!/?(details|summary|p|br|code)\b)", summary)


def test_github_publishes_only_in_a_job(tmp_path: Path) -> None:
    target = tmp_path / "summary"
    wrong = run(result(Verdict.FAIL))
    assert publish(wrong, {}) == []
    assert publish(wrong, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(target)}) == [
        "::error title=WT-01 two-way split%3A fail::because"
    ]
    assert "not conformant" in target.read_text()


def test_a_summary_may_go_into_a_pipe() -> None:
    """As where somebody tries a job's steps by hand, and names /dev/stdout."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as read:
        publish(run(result()), {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": f"/dev/fd/{writer}"})
        os.close(writer)
        assert "conformant" in read.read()


def test_a_summary_that_github_does_not_take_costs_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}
    assert publish(run(result(Verdict.FAIL)), job) == ["::error title=WT-01 two-way split%3A fail::because"]
    assert f"this step has no summary: cannot write {tmp_path}: Is a directory" in capsys.readouterr().err


@given(st.lists(st.sampled_from(["::", ":", "error", "##[", "#", "[", " ", "\t", "\n", "\r", "\v", "x", "\u2028"])))
def test_githubs_runner_obeys_nothing_of_a_meshs_own_words(parts: list[str]) -> None:
    said = "".join(parts)
    for shown in (inert(said), line(said)):
        assert "##[" not in shown
        assert not [one for one in re.split("[\r\n]", shown) if one.strip().startswith("::")]
    assert line(said).replace(" ", "") == "".join(clean(said).split())


def test_where_github_would_drop_annotations_the_last_names_the_others() -> None:
    """It shows ten of a level, and says nothing of those that follow."""
    failed = [replace(result(Verdict.FAIL), id=f"WT-{number:02}") for number in range(13)]
    open_ = [replace(result(Verdict.INCONCLUSIVE), id=f"RT-{number:02}") for number in range(10)]
    lines = commands(run(*failed, *open_))
    assert [line.split()[0] for line in lines] == ["::error"] * 10 + ["::warning"] * 10
    assert lines[8].startswith("::error title=WT-08 ")
    assert lines[9] == "::error title=4 more are in the summary::WT-09, WT-10, WT-11, WT-12"


def test_no_summary_is_larger_than_github_takes(tmp_path: Path) -> None:
    """Also where a step has written some already; of what is too large, GitHub shows nothing."""
    long = replace(result(Verdict.FAIL), reason="é<" * 500, reproduce="meshproof run --set 'a=b' " * 100)
    many = run(*(replace(long, id=f"WT-{number}") for number in range(2000)))
    job = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    for _ in range(3):
        publish(many, job)
    assert 800_000 < (tmp_path / "summary").stat().st_size < 1 << 20
    assert (tmp_path / "summary").read_text().count("more in results.json") == 3


@given(RUNS)
@few
def test_allure_results_keep_the_format(tmp_path_factory: pytest.TempPathFactory, value: Run) -> None:
    target = write_allure(value, tmp_path_factory.mktemp("allure"))
    files = sorted(target.glob("*-result.json"))
    assert len(files) == len(value.results) + sum(bool(stage.problem) for stage in value.stages)
    fields = {attribute.name for attribute in model2.TestResult.__attrs_attrs__}
    for file in files:
        document = json.loads(file.read_text())
        assert set(document) <= fields
        assert document["status"] in {"passed", "failed", "broken", "skipped"}
        for step in document["steps"]:
            assert all((target / one["source"]).is_file() for one in step["attachments"])


def test_allure_results_replace_our_own_and_spare_those_of_others(tmp_path: Path) -> None:
    first, second = run(result()), run(result(), result(Verdict.FAIL, "WT-02"))
    write_allure(second, tmp_path)
    assert len(list(write_allure(first, tmp_path).glob("*-result.json"))) == 1
    theirs = tmp_path / "theirs" / "allure-results" / "theirs-result.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    for _ in range(2):
        write_allure(first, tmp_path / "theirs")
    assert theirs.is_file()


@given(RUNS, st.integers(20, 200))
@few
def test_table_never_steers_the_terminal(value: Run, width: int) -> None:
    text = plain_table(value, width)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    assert value.conclusion in text
    rich_table(value)


def test_table_without_a_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(run(result(), result(Verdict.FAIL, "WT-02")))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "because" in out
    assert "refmesh: not conformant. 1 of 2 checks came out right; WT-02 failed." in out


def test_every_format_is_written(tmp_path: Path) -> None:
    value = run(result())
    written = write(value, tmp_path)
    assert set(written) == set(FORMATS)
    assert all(path.exists() for path in written.values())
    assert read_results(written["json"]) == value
    assert not list(tmp_path.glob(".*.part"))


def test_unknown_format() -> None:
    with pytest.raises(UsageProblem, match="'pdf'"):
        write(run(), Path(), ["pdf"])


def test_full_disk_is_one_sentence() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        write_text(Path("/dev/full/report.html"), "x")
    assert "\n" not in caught.value.problem


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused_when_it_is_read(tmp_path: Path, number: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(json_text(run(result())).replace('"seconds": 5.0', f'"seconds": {number}'))
    with pytest.raises(UsageProblem, match="is no number"):
        read_results(file)


@pytest.mark.parametrize("text", ["", "[", "3", '{"schema": "x"}', "[" * 100_000, "\ud800"])
def test_broken_results_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text, errors="surrogatepass")
    with pytest.raises(UsageProblem) as caught:
        read_results(file)
    assert "\n" not in caught.value.problem


def test_report_directory_is_replaced_only_when_ours(tmp_path: Path) -> None:
    fresh = tmp_path / "a" / "report"
    assert claim_directory(fresh) == fresh
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (fresh / "old").mkdir()
    (fresh / "link").symlink_to(outside)
    claim_directory(fresh)
    clear_directory(fresh)
    assert [path.name for path in fresh.iterdir()] == [MARKER]
    assert (outside / "precious").exists()
    with pytest.raises(UsageProblem, match="not an earlier report"):
        claim_directory(outside)
    with pytest.raises(UsageProblem, match="is a file"):
        claim_directory(outside / "precious")
    with pytest.raises(EnvironmentProblem):
        claim_directory(Path("/proc/nowhere/report"))


@pytest.mark.parametrize(
    ("options", "catalogue", "said", "short"),
    [
        (
            {"profile": "headline"},
            116,
            "1 of 1 checks (profile headline; the catalogue has 116)",
            ", headline 1/1 of 116",
        ),
        ({"profile": "full", "only": ["WT-01"]}, 116, "1 of 1 checks (the catalogue has 116)", " 1/1 of 116"),
        ({"profile": "full"}, 1, "1 of 1 checks came out right", " 1/1,"),
        ({"profile": "headline"}, 0, "1 of 1 checks came out right", " 1/1,"),
    ],
)
def test_a_part_of_the_catalogue_does_not_look_like_the_whole(
    tmp_path: Path, options: dict[str, JSON], catalogue: int, said: str, short: str
) -> None:
    part = replace(run(result()), options=options, catalogue=catalogue)
    assert said in plain_table(part)
    assert said in html_text(part)
    assert said in summary_markdown(part).replace("&#40;", "(").replace("&#41;", ")")
    assert f"conformant{short}" in badge_svg(part)
    named = said.partition("(")[2].partition(")")[0]
    facts = (write_allure(part, tmp_path) / "environment.properties").read_text()
    for text in (junit_text(part), facts):
        assert ("the catalogue has" in text) == bool(named)
        assert named in text
    assert read_results(write_json(part, tmp_path)) == part


def test_json_is_written_whole(tmp_path: Path) -> None:
    assert read_results(write_json(run(result()), tmp_path)).results[0].id == "WT-01"


@given(RUNS)
@few
def test_badge_is_well_formed(value: Run) -> None:
    root = ET.fromstring(badge_svg(value))
    assert value.conclusion in "".join(root.itertext())
    assert {one.tag.rpartition("}")[2] for one in root.iter()} == {"svg", "title", "clipPath", "rect", "g", "text"}


def test_one_run_at_a_time_writes_to_a_directory(tmp_path: Path) -> None:
    with held_directory(tmp_path):
        with pytest.raises(UsageProblem, match="another run") as raised, held_directory(tmp_path):
            pass
        assert "--report-dir" in raised.value.fix
    with held_directory(tmp_path):
        pass
