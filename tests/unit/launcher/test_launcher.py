"""The launcher `./meshproof` in a clone of its own, with a Python whose pip is played: no network, no real packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.cluster import HOST_PACKAGES
from fixtures.cluster.embedded.site import ADMIN_PATH

ROOT = Path(__file__).resolve().parents[3]

PYTHON = f"""#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" "$3/lib/python{sys.version_info[0]}.{sys.version_info[1]}"; cp "$0" "$3/bin/python" ;;
  "-m pip")
    echo "$*" >>"$PLAY/calls"
    cat "$PLAY/words" 2>/dev/null
    [ -e "$PLAY/fails" ] && exit 1
    printf '#!/bin/sh\\necho "ran: $*"\\nexit 7\\n' >"$(dirname "$0")/meshproof"
    chmod +x "$(dirname "$0")/meshproof" ;;
  *) exec {sys.executable} "$@" ;;
esac
"""


@dataclass
class Clone:
    """A clone with the launcher in it, and the folder in which pip's part is written down."""

    folder: Path
    play: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        python = self.play / "python"
        env = {**os.environ, "PLAY": str(self.play), "MESHPROOF_PYTHON": str(python), "MESHPROOF_NO_INSTALL": "1"}
        return subprocess.Popen(
            [str(self.folder / "meshproof"), *arguments],
            env={**env, **environment}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def calls(self) -> list[str]:
        log = self.play / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    folder, play = tmp_path / "a clone", tmp_path / "play"
    folder.mkdir()
    play.mkdir()
    for name in ("meshproof", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    (play / "python").write_text(PYTHON)
    (play / "python").chmod(0o755)
    return Clone(folder, play)


def test_byte_code_is_kept_and_away_from_the_sources_where_those_shall_stay_clean(clone: Clone):
    assert clone.run()[0] == 7
    asked = clone.folder / ".venv" / "bin" / "meshproof"
    asked.write_text('#!/bin/sh\necho "${PYTHONDONTWRITEBYTECODE-unset} ${PYTHONPYCACHEPREFIX-unset}"\n')
    assert clone.run(PYTHONDONTWRITEBYTECODE="1")[1] == f"unset {clone.folder}/.venv/bytecode\n"
    assert clone.run(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX="/else")[1] == " /else\n"


def test_the_command_line_knows_how_it_was_called(clone: Clone):
    clone.run()
    (clone.folder / ".venv" / "bin" / "meshproof").write_text('#!/bin/sh\necho "$MESHPROOF_PROGRAM"\n')
    environment = {**os.environ, "MESHPROOF_NO_INSTALL": "1"}
    for words in (["./meshproof", "x"], ["sh", "meshproof", "x"]):
        done = subprocess.run(words, cwd=clone.folder, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "./meshproof\n"
    assert clone.run()[1] == f"{clone.folder}/meshproof\n"


def test_the_first_call_sets_up_and_passes_arguments_and_exit_code_on(clone: Clone):
    code, out, err = clone.run("run", "--mesh", "a b")
    assert (code, out) == (7, "ran: run --mesh a b\n")
    assert "Install the locked packages" in err
    first, second = clone.calls()
    assert "--require-hashes" in first
    assert "--no-deps" in second


def test_the_second_call_says_and_installs_nothing(clone: Clone):
    clone.run()
    code, out, err = clone.run("list")
    assert (code, out, err) == (7, "ran: list\n", "")
    assert len(clone.calls()) == 2


def test_it_works_through_a_symbolic_link_from_elsewhere(clone: Clone, tmp_path: Path):
    (tmp_path / "link").symlink_to(clone.folder / "meshproof")
    done = subprocess.run(
        [tmp_path / "link", "x"], env={**os.environ, "PLAY": str(clone.play), "MESHPROOF_NO_INSTALL": "1",
        "MESHPROOF_PYTHON": str(clone.play / "python")}, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.stdout == "ran: x\n"
    assert (clone.folder / ".venv").is_dir()


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_pin_is_installed_once(clone: Clone, changed: str):
    clone.run()
    with (clone.folder / changed).open("a") as file:
        file.write("# another\n")
    clone.run()
    clone.run()
    assert len(clone.calls()) == 4


def test_a_clone_that_was_moved_gets_a_new_environment(clone: Clone, tmp_path: Path):
    clone.run()
    (clone.folder / ".venv" / "stale").touch()
    moved = Clone(clone.folder.rename(tmp_path / "moved"), clone.play)
    assert moved.run("x")[:2] == (7, "ran: x\n")
    assert not (moved.folder / ".venv" / "stale").exists()


@pytest.mark.parametrize("gone", ["interpreter", "version"])
def test_an_environment_whose_python_is_gone_or_another_is_made_again(clone: Clone, gone: str):
    clone.run()
    venv = clone.folder / ".venv"
    (venv / "stale").touch()
    if gone == "interpreter":
        (venv / "bin" / "python").unlink()
        (venv / "bin" / "python").symlink_to("/nowhere/python3")
    else:
        next((venv / "lib").iterdir()).rename(venv / "lib" / "python3.10")
    assert clone.run("x")[:2] == (7, "ran: x\n")
    assert not (venv / "stale").exists()


def test_an_environment_of_the_users_own_that_does_not_run_is_left_to_them(clone: Clone):
    (clone.folder / ".venv" / "bin").mkdir(parents=True)
    (clone.folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    code, _, err = clone.run("x")
    assert (code, clone.calls()) == (3, [])
    assert "remove that folder" in err


def test_two_that_start_at_once_install_once(clone: Clone):
    both = [clone.start("one"), clone.start("two")]
    outs = [process.communicate(timeout=60)[0] for process in both]
    assert outs == ["ran: one\n", "ran: two\n"]
    assert len(clone.calls()) == 2


def test_an_installation_that_broke_off_is_taken_up_again(clone: Clone):
    (clone.play / "fails").touch()
    assert clone.run()[0] == 3
    (clone.play / "fails").unlink()
    assert clone.run()[0] == 7


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("NewConnectionError: Failed to establish a new connection: timed out", "The package index cannot be reached"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "does not match the hash"),
        ("ERROR: ReadTimeoutError: Read timed out.", "The package index cannot be reached"),
        ("error: command 'gcc' failed: No such file or directory", "has to be compiled"),
        ("Collecting toxiproxy-python\nERROR: something else", "packages: ERROR: something else"),
        ("ERROR: something else", "pip could not install the locked packages: ERROR: something else"),
    ],
)
def test_what_pip_could_not_do_is_one_sentence_and_exit_code_3(clone: Clone, words: str, sentence: str):
    (clone.play / "words").write_text(f"Collecting aiohttp==1\n{words}\n")
    (clone.play / "fails").touch()
    code, out, err = clone.run("run")
    assert (code, out) == (3, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_python_that_is_too_old_is_one_sentence_and_exit_code_3(clone: Clone):
    (clone.play / "python").write_text("#!/bin/sh\nexit 1\n")
    code, out, err = clone.run("run")
    assert (code, out) == (3, "")
    assert f"meshproof: No Python 3.11 to 3.14 (with its venv module) was found at {clone.play}/python." in err
    assert not (clone.folder / ".venv").exists()


NEXT = f"""#!/bin/sh
[ "$1" = -c ] && exec {sys.executable} -c "import sys; sys.version_info = (3, 15, 0, 'final', 0); $2"
"""


def test_a_python_that_is_too_new_gives_way_to_one_beside_it(clone: Clone):
    """The lock file's packages would have to be compiled for it."""
    for name, text in {"python3": NEXT, "python3.14": PYTHON}.items():
        (clone.play / name).write_text(text)
        (clone.play / name).chmod(0o755)
    assert clone.run("x", MESHPROOF_PYTHON="", PATH=f"{clone.play}:{os.environ['PATH']}")[:2] == (7, "ran: x\n")
    assert (clone.folder / ".venv" / "bin" / "python").read_text() == PYTHON


def test_a_python_that_is_too_new_is_taken_at_its_word(clone: Clone):
    (clone.play / "python").write_text(NEXT + PYTHON)
    assert clone.run("x")[:2] == (7, "ran: x\n")


def test_a_python_in_a_path_with_blanks_is_found(clone: Clone):
    python = clone.play.parent / "my pythons" / "python"
    python.parent.mkdir()
    (clone.play / "python").rename(python)
    assert clone.run("x", MESHPROOF_PYTHON=str(python))[:2] == (7, "ran: x\n")


def test_what_another_user_has_set_up_and_this_one_removed_is_set_up_again(clone: Clone):
    clone.run()
    shutil.rmtree(clone.folder / ".venv")
    (clone.folder / ".meshproof-venv.lock").chmod(0o444)  # which stops nobody who is root
    assert clone.run("x")[:2] == (7, "ran: x\n")


def test_a_folder_that_cannot_be_written_to_is_one_sentence_and_exit_code_3(clone: Clone):
    if os.geteuid() == 0:  # whom modes do not stop: a read-only mount does
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && "$0/meshproof"',
        ]
        done = subprocess.run([*command, clone.folder], capture_output=True, text=True, check=False)
    else:
        clone.folder.chmod(0o555)
        done = subprocess.run([clone.folder / "meshproof"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "cannot be written to" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_nothing_is_installed_at_the_price_of_docker(clone: Clone):
    """A machine with Docker's containerd.io: there is a runc, though no package of that name."""
    programs = {
        "dpkg-query": "exit 1",
        "id": "echo 0",
        "runc": "",
        "apt-get": 'echo "$*" >>"$PLAY/apt"',
    }
    for name, text in programs.items():
        (clone.play / name).write_text(f"#!/bin/sh\n{text}\n")
        (clone.play / name).chmod(0o755)
    launcher = clone.folder / "meshproof"
    launcher.write_text(launcher.read_text().replace("ADMIN_PATH=", f"ADMIN_PATH={clone.play}:", 1))
    clone.run(MESHPROOF_NO_INSTALL="", PATH=f"{clone.play}:{os.environ['PATH']}")
    _, install = (clone.play / "apt").read_text().splitlines()
    assert "runc" not in install.split()
    assert {"--no-remove", "iptables"} <= set(install.split())


def test_another_apt_is_waited_for_and_tried_again_by_the_next_call(clone: Clone):
    words = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (unattended-upgr)"
    apt = f'echo "$*" >>"$PLAY/apt"; [ ! -e "$PLAY/busy" ] || {{ echo "{words}"; exit 100; }}'
    for name, text in {"dpkg-query": "exit 1", "id": "echo 0", "apt-get": apt}.items():
        (clone.play / name).write_text(f"#!/bin/sh\n{text}\n")
        (clone.play / name).chmod(0o755)
    (clone.play / "busy").touch()
    environment = {"MESHPROOF_NO_INSTALL": "", "PATH": f"{clone.play}:{os.environ['PATH']}"}
    code, _, err = clone.run(**environment)
    assert code == 7  # kind and a cluster that exists need none of it
    assert words in err
    (clone.play / "busy").unlink()
    assert [clone.run(**environment)[0] for _ in range(2)] == [7, 7]
    calls = (clone.play / "apt").read_text().splitlines()
    assert ["update" if call == "update" else call.split()[-2:] for call in calls] == [
        "update", ["-o", "DPkg::Lock::Timeout=300"], "update", ["-o", "DPkg::Lock::Timeout=300"],
    ]  # fmt: skip


def test_the_launcher_installs_what_the_embedded_cluster_calls():
    listed = re.search(r'^HOST_PACKAGES="([^"]*)"$', (ROOT / "meshproof").read_text(), re.MULTILINE)
    assert listed
    own = {"ca-certificates", "python3-venv"}  # for the downloads, and for the launcher itself
    assert listed[1].split() == sorted({*HOST_PACKAGES.values(), *own})
    assert f"\nADMIN_PATH={ADMIN_PATH}\n" in (ROOT / "meshproof").read_text()


def test_what_has_no_wheel_for_a_machine_gets_a_compiler(clone: Clone):
    for name, text in {"dpkg-query": "exit 1", "uname": "echo Linux aarch64", "id": "echo 1000"}.items():
        (clone.play / name).write_text(f"#!/bin/sh\n{text}\n")
        (clone.play / name).chmod(0o755)
    for name in ("sh", "dirname", "readlink", "cat", "cmp", "mkdir", "rm", "cp", "chmod", "awk", "grep", "cut"):
        (clone.play / name).symlink_to(shutil.which(name) or name)
    (clone.play / "python").write_text(PYTHON.replace('case "$1 $2" in', 'case "$1 $2" in\n  *Python.h*) exit 1 ;;'))
    launcher = clone.folder / "meshproof"
    launcher.write_text(launcher.read_text().replace(":/usr/local/sbin:/usr/sbin:/sbin\n", "\n", 1))
    _, _, err = clone.run(PATH=str(clone.play))
    assert re.search(
        "the embedded cluster and the Python packages need.* gcc libc6-dev python3-dev$", err, re.MULTILINE
    )


def test_where_no_embedded_cluster_can_be_nobody_is_told_what_it_needs(clone: Clone):
    (clone.play / "uname").write_text("#!/bin/sh\necho Darwin arm64\n")
    (clone.play / "uname").chmod(0o755)
    code, _, err = clone.run(PATH=f"{clone.play}:{os.environ['PATH']}")
    assert code == 7
    assert "Install the locked packages" in err
    assert "iptables" not in err


@pytest.mark.parametrize("shell", [name for name in ("sh", "dash", "bash") if shutil.which(name)])
def test_posix_shells_read_it(shell: str):
    done = subprocess.run([shell, "-n", ROOT / "meshproof"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ci_runs_exactly_what_a_user_runs():
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line and not line.startswith("#")] == [
        'exec "$(dirname "$0")/../meshproof" test'
    ]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
