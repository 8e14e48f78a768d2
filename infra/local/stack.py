#!/usr/bin/env python3
"""The local stack: the AWS emulator and the database, with template.yaml deployed.

    stack.py up       start everything, build and deploy what changed
    stack.py demo     up, then the demonstration tenants
    stack.py down     stop everything; data stays
    stack.py reset    stop everything and delete its data
    stack.py status   say what runs
    stack.py logs     show what the functions logged, or one function: logs login
    stack.py test     up, run the tests, and stop what was not running before
    stack.py drill    restore the database of a fresh stack and measure it; deletes its data
"""

import argparse
import os
import shutil
import sys

import settings
import venvs
from console import Stop, run_main

# The parts of the stack, and what each verb needs of it.
RUN_TOOLS = ("emulator", "database", "sam")
TEST_TOOLS = (*RUN_TOOLS, "verify")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["up", "demo", "down", "reset", "status", "logs", "test", "drill"])
    parser.add_argument("arguments", nargs="*", help="for logs, a function; for test, options of cargo nextest run")
    options = parser.parse_args()

    builds = options.verb in ("up", "demo", "test", "drill")
    check_prerequisites(builds)
    if builds:
        settings.LOCAL.mkdir(exist_ok=True)
        # It holds sign-ins, and what the emulator keeps of secrets.
        settings.LOCAL.chmod(0o700)
        venvs.install(*(TEST_TOOLS if options.verb == "test" else RUN_TOOLS))
    python = settings.venv_program("emulator", "python")
    if not os.path.exists(python):
        print("There is no local stack; `make run` starts one.")
        return 0
    if sys.executable != python:
        os.execv(python, [python, *sys.argv])

    import operations

    return getattr(operations, options.verb)(options.arguments)


def check_prerequisites(builds: bool) -> None:
    if sys.version_info < (3, 11):
        raise Stop(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; set PYTHON=<interpreter>.")
    if builds and not shutil.which("cargo"):
        raise Stop("cargo is needed to build the functions; install Rust with rustup.")
    if builds and not shutil.which(os.environ.get("CC", "cc")):
        raise Stop("a C compiler (cc) is needed to build the crypto library; install gcc or clang.")


if __name__ == "__main__":
    run_main(main)
