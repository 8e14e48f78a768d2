"""Runs the workspace's tests against the running stack."""

import os
import shutil
import subprocess

import cargo_tools
from console import Stop, step
from settings import ROOT


def run(arguments: list[str]) -> int:
    """cargo nextest over every library and test target; its exit code."""
    _require_pdfsig()
    nextest = cargo_tools.program("cargo-nextest")
    print("-> running the tests ...", flush=True)
    # Binaries hold no logic and so no tests; without them 26 links are saved.
    result = subprocess.run(
        [nextest, "nextest", "run", "--workspace", "--locked", "--lib", "--test", "*", *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL,
    )
    print("All tests passed." if result.returncode == 0 else f"Tests failed (exit code {result.returncode}).")
    return result.returncode


def _require_pdfsig() -> None:
    """pdfsig, of poppler, is the second opinion on the signatures of reports."""
    if shutil.which("pdfsig"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        with step("installing poppler-utils"):
            for command in (
                ["apt-get", "update", "-qq"],
                ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "poppler-utils"],
            ):
                subprocess.run(
                    command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                )
    if not shutil.which("pdfsig"):
        raise Stop("the tests need pdfsig; install poppler-utils.")
