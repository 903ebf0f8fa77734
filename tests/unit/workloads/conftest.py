import pytest

from fixtures.workloads.traffic import Client
from tests.unit.workloads.helpers import Echo, Program, running


@pytest.fixture(scope="module")
def echo():
    with running(Echo()) as program:
        yield program


@pytest.fixture(scope="module")
def client_program():
    with running(Program("client", CLIENT_CONTROL_PORT="0")) as program:
        yield program


@pytest.fixture(scope="module")
def client(client_program):
    with Client.at("127.0.0.1", client_program.ports[0]) as made:
        yield made
