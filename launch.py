"""Starts Easel on a machine that has nothing but Python: makes .venv, installs what is pinned, runs `webui.cli`.

Standard library only, and no syntax newer than Python 3.8, so that an old Python can still say what is missing.
Knows nothing of what Easel does; everything after the installation is in `webui`.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
OLDEST, NEWEST = (3, 11), (3, 13)
IS_FITTING = f"import pip, sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
"""What the Python inside .venv is asked: whether it has pip and the right version."""

REQUIREMENTS = {"run": ROOT / "requirements.txt", "test": ROOT / "tests" / "requirements.txt"}
"""Name of a set -> its pinned file. "test" is installed on top of "run", by `launch.py test` only."""


class InstallError(Exception):
    """The installation cannot go on; the text is one paragraph for the person."""


def main(arguments: Sequence[str]) -> int:
    complaint = wrong_python(sys.version_info[:2])
    if complaint:
        print(complaint, file=sys.stderr)
        return 2
    sets = ["run", "test"] if list(arguments[:1]) == ["test"] else ["run"]
    try:
        prepare(VENV, sets)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The next start finishes the installation.", file=sys.stderr)
        return 130
    return hand_over(arguments)


def wrong_python(version: tuple[int, ...]) -> str | None:
    """Why this Python will not do, as one paragraph, or None."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    fitting = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = next((name for name in fitting if runs([name, "-c", ""])), None)
    remedy = f"This machine has one: run '{found} launch.py'." if found else "Install one and start launch.py with it."
    return (
        f"Easel needs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, and this is Python "
        f"{'.'.join(map(str, version[:2]))}. The libraries it stands on are built for those versions only. {remedy}"
    )


def runs(command: Sequence[str]) -> bool:
    try:
        return (
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
        )
    except OSError:
        return False


def hand_over(arguments: Sequence[str]) -> int:
    """Run `webui.cli` with the Python of .venv; on POSIX this process becomes that one."""
    keep_bytecode(VENV)
    if Path(sys.prefix).resolve() == VENV.resolve():
        from webui.cli import main as cli_main

        return cli_main(list(arguments))
    command = [str(python_of(VENV)), str(ROOT / "launch.py"), *arguments]
    if sys.platform == "win32":  # os.execv on Windows starts a second process and lets the console go on without it
        return subprocess.call(command)
    sys.stdout.flush()
    return os.execv(command[0], command)


def keep_bytecode(venv: Path) -> None:
    """Where the environment forbids bytecode beside the sources, as many container images do, keep it inside `venv`.

    Every process that compiles its thousands of modules anew starts in twice the time.
    """
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        return
    folder = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(venv / "bytecode"))
    sys.dont_write_bytecode, sys.pycache_prefix = False, folder


# The installation. A set is finished when its stamp holds the digest of what was asked for; the marker
# lies there from before the first file until after the last, so a killed installation is recognised. pip
# takes a half-copied package for a whole one, hence a venv with a marker is made again from nothing
# (downloads are in pip's cache and are not repeated).


def prepare(venv: Path, sets: Sequence[str]) -> None:
    """Make `venv` hold the sets of `REQUIREMENTS` named; does nothing at all when it already does."""
    nvidia = has_nvidia_card()
    if not unfinished(venv, sets, nvidia):
        return
    with only_one_installer(venv.with_name(venv.name + ".lock")):
        missing = unfinished(venv, sets, nvidia)  # the other installer may have done it
        if not missing:
            return
        started = time.monotonic()
        make_venv(venv)
        for name in missing:
            marker_of(venv).touch()
            install(venv, name, nvidia)
            stamp_of(venv, name).write_text(digest(REQUIREMENTS[name], nvidia), "utf-8")
            marker_of(venv).unlink()
        say(f"Ready after {time.monotonic() - started:.0f} s. The next start needs none of this.")


def unfinished(venv: Path, sets: Sequence[str], nvidia: bool) -> list[str]:
    """The sets that still have to be installed, in order."""
    if marker_of(venv).exists() or not python_of(venv).exists():
        return list(sets)
    return [name for name in sets if read(stamp_of(venv, name)) != digest(REQUIREMENTS[name], nvidia)]


def digest(requirements: Path, nvidia: bool) -> str:
    """Identifies what an installation holds: the pinned lines and whether they were meant for an NVIDIA card."""
    wanted = [*pinned(requirements, nvidia), f"nvidia={nvidia}"]
    return hashlib.sha256("\n".join(wanted).encode()).hexdigest()


def pinned(requirements: Path, nvidia: bool) -> list[str]:
    """The requirement lines for this machine: xformers only where there is an NVIDIA card."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text("utf-8").splitlines())
    return [line for line in lines if line and (nvidia or not line.startswith("xformers"))]


def has_nvidia_card() -> bool:
    """Whether there is a card, not merely a driver package. Reads files where it can, to cost nothing at each start."""
    if sys.platform.startswith("linux") and not Path("/dev/dxg").exists():  # /dev/dxg: WSL shows the card there only
        return any(Path("/proc/driver/nvidia/gpus").glob("*")) or any(Path("/dev").glob("nvidia[0-9]*"))
    tool = shutil.which("nvidia-smi")
    if sys.platform == "darwin" or not tool:
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return b"GPU 0" in subprocess.run([tool, "-L"], stdout=subprocess.PIPE, timeout=20, check=False).stdout
    return False


def make_venv(venv: Path) -> None:
    """Make `venv`, again from nothing where it was left half-made or its Python is gone or too old."""
    half_made = marker_of(venv).exists()
    if venv.exists() and (half_made or not runs([str(python_of(venv)), "-c", IS_FITTING])):
        say("The last installation was not finished: making .venv again." if half_made else "Making .venv again.")
        shutil.rmtree(venv)
    if venv.exists():
        return
    say("Making .venv")
    try:
        venv.mkdir(parents=True)
        marker_of(venv).touch()
    except OSError as error:
        raise InstallError(f"The folder {venv} cannot be made: {error}. Put Easel where you may write.") from error
    result = subprocess.run([sys.executable, "-m", "venv", str(venv)], stdout=subprocess.PIPE, check=False)
    if result.returncode:
        raise InstallError(
            f"Python could not make a virtual environment in {venv}. On Debian and Ubuntu a package is missing: "
            f"'apt-get install python3.{sys.version_info[1]}-venv', then run launch.py again."
        )


def install(venv: Path, name: str, nvidia: bool) -> None:
    wanted = pinned(REQUIREMENTS[name], nvidia)
    xformers = [line for line in wanted if line.startswith("xformers")]
    torch = [line for line in wanted if line.startswith("torch==")]
    if torch:
        install_torch(venv, torch[0], nvidia)
    rest = [line for line in wanted if line not in xformers]
    constraint = ["--constraint", str(REQUIREMENTS["run"])] if name != "run" else []
    say(f"Installing {len(rest)} pinned packages ({REQUIREMENTS[name].relative_to(ROOT)})")
    pip(venv, [*constraint, *rest])
    if xformers:
        say("Installing xformers (faster attention; Easel runs without it)")
        with contextlib.suppress(InstallError):  # torch's own attention takes its place; `doctor` says so
            pip(venv, xformers)


def install_torch(venv: Path, requirement: str, nvidia: bool) -> None:
    """torch first and alone, so that nothing else chooses its build.

    A local CPU build ("+cpu") sorts above the plain one, so a machine that offers one gets it by asking for
    the plain version; an index with CUDA builds only still works, it is just a larger download. With a card
    the CPU build is excluded by name, and allowed again (by the full list that follows) if there is no other.
    """
    if nvidia:
        say("Installing torch for the NVIDIA card (several gigabytes)")
        with contextlib.suppress(InstallError):
            pip(venv, [f"{requirement},!={requirement.split('==')[1]}+cpu"])
    else:
        say("Installing torch for the CPU (the largest part)")
        pip(venv, [requirement])


def pip(venv: Path, arguments: Sequence[str]) -> None:
    """`pip install`; one line of what it is at on a terminal, its last words when it fails."""
    # --no-compile: most of the thousands of modules are never imported, and those that are get compiled then.
    quiet = ["--disable-pip-version-check", "--no-input", "--no-compile"]
    command = [str(python_of(venv)), "-m", "pip", "install", *quiet, *arguments]
    last_lines: collections.deque[str] = collections.deque(maxlen=15)
    terminal = sys.stdout.isatty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            last_lines.append(line)
            if terminal and line.lstrip().startswith(("Collecting", "Downloading", "Installing", "Using cached")):
                print("\r\033[K    " + line.strip()[:70], end="", flush=True)
    if terminal:
        print("\r\033[K", end="", flush=True)
    if process.returncode:
        raise InstallError(
            "pip stopped with:\n    " + "\n    ".join(last_lines) + "\nThe installation is not finished. Most often "
            "the network or the disk is the reason; run launch.py again and it goes on, nothing has to be deleted."
        )


@contextlib.contextmanager
def only_one_installer(lock: Path) -> Iterator[None]:
    """Wait until no other launch.py installs here. The system lets go of the lock when its owner dies."""
    try:
        file = lock.open("a")
    except OSError as error:
        raise InstallError(f"{lock.parent} cannot be written: {error}. Put Easel where you may write.") from error
    with file:
        if not take(file.fileno()):
            say("Another launch.py is installing; waiting for it.")
            while not take(file.fileno()):
                time.sleep(0.5)
        yield


def take(descriptor: int) -> bool:
    """Lock the file without waiting; False when somebody else has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def marker_of(venv: Path) -> Path:
    return venv / "easel-installing"


def stamp_of(venv: Path, name: str) -> Path:
    return venv / f"easel-{name}.stamp"


def read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def say(text: str) -> None:
    print(f"[easel] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
