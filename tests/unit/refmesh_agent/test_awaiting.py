from __future__ import annotations

import socket

from refmesh.agent import awaiting


def listener(address: str = "127.0.0.1") -> socket.socket:
    here = socket.create_server((address, 0))
    here.setblocking(False)
    return here


def test_only_a_call_that_arrives_here_proves_anything():
    with listener() as here, listener() as other:
        port = here.getsockname()[1]
        assert awaiting.proven(here, ("127.0.0.1", port))  # as if it were led here
        assert not awaiting.proven(here, other.getsockname())
        assert not awaiting.proven(here, ("127.0.0.2", port))


def test_a_pod_with_an_ipv6_address_needs_the_proof_for_both(monkeypatch):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(awaiting, "INBOUND_PORT", port)
    monkeypatch.setattr(awaiting, "proven", lambda here, _called: here.family == socket.AF_INET)
    monkeypatch.setattr(awaiting, "ipv6_address", lambda: "::1")
    assert awaiting.main(seconds=0.0) == 1
    monkeypatch.setattr(awaiting, "ipv6_address", lambda: None)
    assert awaiting.main(seconds=0.0) == 0


def test_a_call_of_somebody_else_is_not_taken_for_ones_own():
    with listener() as here, listener() as other, socket.create_connection(here.getsockname()):
        assert not awaiting.proven(here, other.getsockname())


def test_a_node_without_an_agent_is_said_in_one_message(monkeypatch, capsys):
    with listener() as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(awaiting, "INBOUND_PORT", port)
    monkeypatch.setenv("NODE_NAME", "n7")
    assert awaiting.main(seconds=0.0) == 1
    said = capsys.readouterr().err
    assert said.startswith("refmesh-init: no agent on n7 has captured this pod's traffic within 0 s. ")
    assert "spec.nodeName=n7" in said


def test_a_port_that_is_taken_is_said(monkeypatch, capsys):
    with listener() as taken:
        monkeypatch.setattr(awaiting, "INBOUND_PORT", taken.getsockname()[1])
        assert awaiting.main() == 1
    assert "cannot be opened: Address already in use" in capsys.readouterr().err
