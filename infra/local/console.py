"""What the scripts tell the person who runs them."""

import sys
import time
from contextlib import contextmanager


class Stop(Exception):
    """Something that the person can put right; its text is the one sentence to show."""


@contextmanager
def step(title: str):
    """Prints a step and, when it is done, how long it took."""
    print(f"-> {title} ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    yield
    print(f"   done in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def run_main(main) -> None:
    """Runs `main`, turning a Stop into its sentence and exit code 1."""
    try:
        sys.exit(main())
    except Stop as stop:
        print(f"keystone: {stop}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
