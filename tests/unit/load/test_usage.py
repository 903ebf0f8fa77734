from hypothesis import given, settings
from hypothesis import strategies as st

from load.usage import Usage, parse_cgroup, sidecars


def test_both_versions_of_cgroups_are_read():
    assert parse_cgroup("usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n4096\n") == Usage(1.5, 4096)
    assert parse_cgroup("2500000000\n8192\n") == Usage(2.5, 8192)


@settings(deadline=None)
@given(st.text())
def test_anything_else_is_no_usage(text):
    found = parse_cgroup(text)
    assert found is None or found.memory_bytes >= 0


def test_sidecars_are_what_is_not_ours():
    pod = {
        "spec": {
            "initContainers": [{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}],
            "containers": [{"name": "echo"}, {"name": "old-proxy"}],
        }
    }
    assert sidecars(pod) == ["proxy", "old-proxy"]
    assert sidecars({}) == []
