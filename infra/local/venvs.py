"""Python tools, pinned with hashes, one virtual environment per tool family.

They are apart because the emulator and the SAM CLI pin different versions of
the same AWS library, and because the database's licence asks for a separate
process that nothing of ours links.

    venvs.py sam verify    makes the named environments
"""

import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from console import Stop, run_main, step
from settings import ROOT, VENVS

REQUIREMENTS = ROOT / "infra" / "local" / "requirements"


def install(*names: str) -> None:
    """Makes each named environment match its requirements file."""
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        with step(f"installing pinned tools: {', '.join(missing)}"), ThreadPoolExecutor() as pool:
            list(pool.map(_install, missing))


def _wanted(name: str) -> str:
    return f"{sys.version_info[:2]} {hashlib.sha256((REQUIREMENTS / f'{name}.txt').read_bytes()).hexdigest()}"


def _is_installed(name: str) -> bool:
    stamp = VENVS / name / "installed"
    return stamp.exists() and stamp.read_text() == _wanted(name)


def _install(name: str) -> None:
    venv = VENVS / name
    requirements = REQUIREMENTS / f"{name}.txt"
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    # The file names every package that may come in, so nothing is resolved.
    pip = subprocess.run(
        [
            str(venv / "bin" / "python"), "-m", "pip", "install",
            "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile",
            "--require-hashes", "--no-deps", "-r", str(requirements),
        ],
        stdin=subprocess.DEVNULL,
    )
    if pip.returncode != 0:
        raise Stop(f"pip could not install {requirements.relative_to(ROOT)}; its message stands above.")
    (venv / "installed").write_text(_wanted(name))


def main() -> int:
    install(*sys.argv[1:])
    return 0


if __name__ == "__main__":
    run_main(main)
