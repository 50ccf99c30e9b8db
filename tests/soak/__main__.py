"""``python -m tests.soak``: what takes a while. Prints what it found; exits with 1 when that is not as promised."""

from __future__ import annotations

import argparse
import sys

from tests.soak.websocket import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="idle WebSockets")
    parser.add_argument("--seconds", type=float, default=60, help="of the storm")
    options = parser.parse_args()
    try:
        print(soak(options.connections, options.seconds))
    except (AssertionError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
