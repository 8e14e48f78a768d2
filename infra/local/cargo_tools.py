"""Tools that cargo installs, pinned; one on PATH is used as it is.

    cargo_tools.py cargo-deny    prints the program's path, installing it first if needed
"""

import os
import shutil
import subprocess
import sys

from console import Stop, run_main, step
from settings import LOCAL

VERSIONS = {"cargo-nextest": "0.9.143", "cargo-deny": "0.20.2"}


def program(name: str) -> str:
    """The path of a cargo tool."""
    if found := shutil.which(name):
        return found
    installed = LOCAL / "cargo" / "bin" / name
    if not installed.exists():
        # Unoptimised: it runs for seconds and would compile for many minutes.
        command = [
            "cargo", "install", "--locked", "--debug", "--quiet",
            "--root", str(LOCAL / "cargo"), f"{name}@{VERSIONS[name]}",
        ]
        with step(f"installing {name} {VERSIONS[name]}"):
            environment = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment).returncode:
                raise Stop(f"cargo could not install {name}; its message stands above.")
    return str(installed)


def main() -> int:
    print(program(sys.argv[1]))
    return 0


if __name__ == "__main__":
    run_main(main)
