from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from fixtures.images.plan import Directory, Entry, File, Link, Plan, Stat, Text


def tree(root: Path) -> Plan:
    plan = Plan()
    plan.tree(PurePosixPath("/app"), root)
    return plan


def test_a_tree_has_every_file_but_byte_code_and_what_is_left_out(tmp_path: Path) -> None:
    for name in ("a.py", "deep/b.py", "__pycache__/a.cpython-311.pyc", "a.pyc", "tests/test_a.py", "run.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    (tmp_path / "run.sh").chmod(0o755)
    plan = Plan()
    plan.tree(PurePosixPath("/app"), tmp_path, leave_out=frozenset({"tests"}))
    assert sorted(plan.entries) == ["/app/a.py", "/app/deep/b.py", "/app/run.sh"]
    assert plan.entries["/app/run.sh"] == File(tmp_path / "run.sh", executable=True)
    assert plan.entries["/app/a.py"] == File(tmp_path / "a.py", executable=False)


def test_the_content_key_follows_bytes_names_and_modes_and_no_date(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    first = tree(tmp_path).content()
    os.utime(file, (1, 1))
    assert tree(tmp_path).content() == first
    file.chmod(0o755)
    executable = tree(tmp_path).content()
    file.chmod(0o644)
    file.write_text("x = 2\n")
    edited = tree(tmp_path).content()
    file.rename(tmp_path / "b.py")
    renamed = tree(tmp_path).content()
    assert len({first, executable, edited, renamed}) == 4


def test_the_content_key_does_not_say_where_the_sources_lie(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.py").write_text("x = 1\n")
    assert tree(tmp_path / "here").content() == tree(tmp_path / "there").content()


ENTRIES = st.dictionaries(
    st.from_regex(r"/[a-z]{1,3}(/[a-z]{1,3}){0,2}", fullmatch=True),
    st.one_of(
        st.builds(Text, st.binary(max_size=20), st.sampled_from([0o644, 0o600])),
        st.builds(Link, st.text("abc/", max_size=5)),
        st.builds(Directory, st.sampled_from([0o755, 0o1777])),
    ),
    max_size=5,
)


@given(ENTRIES, ENTRIES)
def test_two_plans_have_one_key_only_if_they_are_the_same(one: dict[str, Entry], other: dict[str, Entry]) -> None:
    backwards = Plan(dict(reversed(one.items())))
    assert Plan(one).content() == backwards.content()
    assert (Plan(one).content() == Plan(other).content()) == (one == other)


def test_a_missing_file_has_a_stat_that_no_file_has(tmp_path: Path) -> None:
    assert Stat.of(tmp_path / "nothing") == Stat(str(tmp_path / "nothing"), -1, 0)
