from pathlib import Path

from reports.commands import command


def test_what_was_not_given_is_left_out_and_lists_are_repeated():
    flags = {"--a": None, "--b": "", "--c": False, "--d": True, "--e": ["x=1", "y=it's"], "--f": Path("/k"), "--g": 0}
    assert command(["do", "it"], flags) == "do it --d --e x=1 --e 'y=it'\"'\"'s' --f /k --g 0"
