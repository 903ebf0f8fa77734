"""The tutorial's files on clusters that pull their images from a registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SAMPLE = "refmesh/samples/bookinfo.yaml"


@pytest.mark.parametrize("said_in", ["README.md", SAMPLE])
def test_the_sample_takes_another_image_by_the_line_that_is_told(said_in: str) -> None:
    (line,) = re.findall(
        rf"^(?:# )?(sed .* {SAMPLE}) \| kubectl apply -f -$", (ROOT / said_in).read_text(), re.MULTILINE
    )
    env = {"IMAGE": "registry.example.com:5000/team/meshproof@sha256:0a1b", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=20)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] == "Deployment"]
    images = [container["image"] for one in objects for container in one["spec"]["template"]["spec"]["containers"]]
    assert images == [env["IMAGE"]] * 6
