"""Builds the functions' binaries and lays them out as template.yaml expects."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from console import Stop, step
from settings import LAMBDA_DIR, ROOT, TEMPLATE


def names() -> list[str]:
    """The functions that the template deploys."""
    return re.findall(r"^ +CodeUri: target/lambda/([a-z-]+)/$", TEMPLATE.read_text(), re.MULTILINE)


def build() -> None:
    """One cargo run in the profile that the tests share, then one bootstrap per function."""
    with step("building the functions (minutes the first time)"):
        # No workspace member may be left out: that would unify features
        # differently and compile the dependencies a second time for the tests.
        if subprocess.run(["cargo", "build", "--workspace", "--bins", "--locked"], cwd=ROOT).returncode != 0:
            raise Stop("the build failed; the compiler's message stands above.")
        binaries = _target_directory() / "debug"
        for name in names():
            _place(binaries / name, LAMBDA_DIR / name / "bootstrap")


def _target_directory() -> Path:
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
        cwd=ROOT, check=True, capture_output=True,
    )
    return Path(json.loads(metadata.stdout)["target_directory"])


def _place(binary: Path, bootstrap: Path) -> None:
    if not binary.exists():
        raise Stop(f"template.yaml names the function {binary.name}, but no crate has such a binary.")
    # A second name for the file and no copy: 140 of them would fill a small disk.
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    bootstrap.unlink(missing_ok=True)
    try:
        bootstrap.hardlink_to(binary)
    except OSError:
        shutil.copy2(binary, bootstrap)
