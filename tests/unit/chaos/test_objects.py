"""The objects of the scene, as they are put into a cluster."""

from chaos.meshing import meshing
from chaos.objects import inside


def container(objects, name):
    (found,) = (one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == name)
    return found["spec"]["template"]["spec"]["containers"][0]


def test_the_echo_that_is_killed_says_no_farewell():
    assert {"name": "ECHO_ABRUPT", "value": "1"} in container(inside("ours", "i", meshing("istio")), "echo")["env"]
