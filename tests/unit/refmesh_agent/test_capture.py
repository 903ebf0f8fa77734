from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent import capture
from refmesh.injector import containers

CHAIN = "REFMESH_OUTPUT"


def of_chain(document: str, chain: str) -> list[str]:
    return [line.removeprefix(f"-A {chain} ") for line in document.splitlines() if line.startswith(f"-A {chain} ")]


def test_outbound_rules_come_in_the_order_that_prevents_loops():
    assert of_chain(capture.rules(), CHAIN) == [
        "-o lo -s 127.0.0.6/32 -j RETURN",
        "-o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1337 -j REFMESH_IN",
        "-o lo -m owner ! --uid-owner 1337 -j RETURN",
        "-m owner --uid-owner 1337 -j RETURN",
        "-d 127.0.0.1/32 -j RETURN",
        "-p tcp -j REFMESH_OUT",
    ]


def test_the_agents_own_ports_are_never_captured_and_every_other_is():
    # also 22: clients are told to speak mTLS to it, and policies hold there
    inbound = of_chain(capture.rules(), "REFMESH_INBOUND")
    assert inbound == [*(f"-p tcp --dport {port} -j RETURN" for port in (15020, 15021)), "-p tcp -j REFMESH_IN"]


def test_exclusions_come_before_the_capture():
    document = capture.rules(
        exclude_inbound=[9000], exclude_outbound=[3306], exclude_ranges=["10.1.0.0/16", "fd00::/8"]
    )
    assert "-p tcp --dport 9000 -j RETURN" in of_chain(document, "REFMESH_INBOUND")[:-1]
    assert of_chain(document, CHAIN)[-3:] == [
        "-p tcp --dport 3306 -j RETURN",
        "-d 10.1.0.0/16 -j RETURN",
        "-p tcp -j REFMESH_OUT",
    ]


def test_only_what_is_included_is_captured():
    document = capture.rules(include_inbound=[8080, 80], exclude_inbound=[80], include_ranges=["10.0.0.0/8"])
    assert of_chain(document, "REFMESH_INBOUND") == [
        *(f"-p tcp --dport {port} -j RETURN" for port in (15020, 15021)),
        "-p tcp --dport 80 -j REFMESH_IN",
        "-p tcp --dport 8080 -j REFMESH_IN",
    ]
    assert of_chain(document, CHAIN)[-2:] == ["-d 127.0.0.1/32 -j RETURN", "-d 10.0.0.0/8 -p tcp -j REFMESH_OUT"]


def test_included_ports_are_captured_whatever_the_address_but_for_exclusions():
    document = capture.rules(include_outbound=[443], include_ranges=["10.0.0.0/8"], exclude_ranges=["10.1.0.0/16"])
    assert of_chain(document, CHAIN)[-3:] == [
        "-d 10.1.0.0/16 -j RETURN",
        "-p tcp --dport 443 -j REFMESH_OUT",
        "-d 10.0.0.0/8 -p tcp -j REFMESH_OUT",
    ]


def test_nothing_included_is_nothing_captured(monkeypatch, capsys):
    monkeypatch.setattr(capture, "_ipv6_table", list)
    monkeypatch.setenv("REFMESH_INCLUDE_INBOUND_PORTS", "")
    monkeypatch.setenv("REFMESH_INCLUDE_OUTBOUND_RANGES", "")
    assert capture.main(["--print"]) == 0
    document = capsys.readouterr().out
    assert "REFMESH_IN" not in [line.split()[-1] for line in of_chain(document, "REFMESH_INBOUND")]
    assert "REFMESH_OUT" not in [line.split()[-1] for line in of_chain(document, CHAIN)]


def test_each_family_gets_its_own_ranges():
    document = capture.rules(exclude_ranges=["10.1.0.0/16", "fd00::/8"], ipv6=True)
    assert "-d fd00::/8 -j RETURN" in document
    assert "10.1" not in document
    assert "127.0.0" not in document


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80 81", "²"])
def test_bad_ports_are_named(text):
    with pytest.raises(ValueError, match="not a port number"):
        capture.ports(text)


def test_lists_may_have_blanks():
    assert capture.ports(" 80, ,443 ") == (80, 443)
    assert capture.ranges("10.1.2.3/8, 1.2.3.4") == ("10.0.0.0/8", "1.2.3.4/32")


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fe80::1%x\n-A OUTPUT -j ACCEPT\nCOMMIT\n*mangle", "fe80::1%x y/64"])
def test_a_range_of_a_zone_is_refused(text):
    with pytest.raises(ValueError, match="leave out the zone"):
        capture.ranges(text)


_WORDS = ["80", "65535", "*", "10.0.0.0/8", "fd00::/8", "fe80::1", "%", "/64", "/0", ",", " ", "\n", "COMMIT"]
_texts = st.lists(st.sampled_from(_WORDS) | st.text(max_size=3), max_size=6).map("".join)
_LINE = re.compile(
    r"\*nat|COMMIT|:REFMESH_(INBOUND|OUTPUT|IN|OUT) - \[0:0\]|-A (PREROUTING|OUTPUT|REFMESH_(INBOUND|OUTPUT|IN|OUT))"
    r"( -p tcp| -o lo|( !)? -[ds] [0-9a-f.:]+/[0-9]+| --dport [0-9]+| -m owner( !)? --uid-owner [0-9]+)*"
    r" -j (RETURN|REFMESH_(INBOUND|OUTPUT|IN|OUT)|REDIRECT --to-ports [0-9]+)"
)


@given(st.dictionaries(st.sampled_from(capture.VARIABLES), _texts))
def test_whatever_the_settings_hold_a_document_has_lines_of_the_known_kinds(env):
    try:
        chosen = capture.asked(env)
    except ValueError:
        return
    for ipv6 in (False, True):
        lines = chosen(ipv6=ipv6).removesuffix("\n").split("\n")
        assert [line for line in lines if not _LINE.fullmatch(line)] == []
        assert (lines[0], lines[-1]) == ("*nat", "COMMIT")
        assert lines.count("COMMIT") == lines.count("*nat") == 1


def test_nothing_of_anybodys_text_is_in_a_document():
    document = capture.rules(exclude_ranges=["fe80::1%x\nCOMMIT"], include_ranges=["fe80::2%y z"], ipv6=True)
    assert "-d fe80::1/128 -j RETURN" in document
    assert "-d fe80::2/128 -p tcp" in document
    assert document.count("COMMIT") == 1
    assert "%" not in document


def test_a_bad_setting_ends_with_a_sentence_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setenv("REFMESH_EXCLUDE_OUTBOUND_RANGES", "everything")
    assert capture.main(["--print"]) == 2
    assert capsys.readouterr().err == "refmesh-init: 'everything' is not an IP range\n"


def test_print_shows_the_document_and_changes_nothing(monkeypatch, capsys):
    monkeypatch.setattr(capture, "_ipv6_table", list)
    assert capture.main(["--print"]) == 0
    assert capsys.readouterr().out == capture.rules()


LOOPBACK = ["00000000000000000000000000000001", "01", "80", "10", "80", "lo"]
GLOBAL = ["fd000000000000000000000000000005", "02", "40", "00", "80", "eth0"]


def test_what_is_in_force_is_not_applied_again(monkeypatch):
    monkeypatch.setattr(capture, "_ipv6_table", lambda: [LOOPBACK, GLOBAL])
    commands = list[list[str]]()

    def run(command: list[str], _text: str = "", *, quiet: bool = False) -> int:
        commands.append([command[0], *(["-C"] if "-C" in command else [])])
        return 1 if quiet and command[0].startswith("ip6tables") else 0

    monkeypatch.setattr(capture, "_run", run)
    assert capture.put_in_force(capture.documents({}), once=True)
    assert commands == [["iptables", "-C"], ["ip6tables", "-C"], ["ip6tables-legacy", "-C"], ["ip6tables-restore"]]
    commands.clear()
    assert capture.put_in_force(capture.documents({}))
    assert commands == [["iptables-restore"], ["ip6tables-restore"]]


@pytest.mark.parametrize(
    ("table", "early", "families", "enough"),
    [
        ([], True, [False], True),
        ([LOOPBACK], False, [False], True),
        ([LOOPBACK], True, [False, True], True),  # an address may come; where the kernel has no rules, none is lost
        ([LOOPBACK, GLOBAL], False, [False, True], False),
    ],
)
def test_ipv6_is_captured_where_a_pod_has_it_or_may_get_it(monkeypatch, table, early, families, enough):
    monkeypatch.setattr(capture, "_ipv6_table", lambda: table)
    found = capture.documents({}, early=early)
    assert [ipv6 for ipv6, _ in found] == families
    assert capture.ipv6_address() == ("fd00::5" if GLOBAL in table else None)
    monkeypatch.setattr(capture, "_run", lambda command, *_, **__: 1 if command[0].startswith("ip6") else 0)
    assert capture.put_in_force(found) is enough


def test_the_variables_are_those_that_the_injector_writes():
    assert {*containers._EXCLUDES.values(), *containers._INCLUDES.values()} == set(capture.VARIABLES)
