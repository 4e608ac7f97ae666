"""``python -m tests.fuzz --seconds 60 --seed 1``: damage answers and see what comes of it."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz.runner import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="stop after this time (default: 60)")
    parser.add_argument("--cases", type=int, help="stop after this many cases")
    parser.add_argument("--seed", type=int, help="makes the run repeatable (default: a new one)")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    seconds = 60.0 if options.seconds is None and options.cases is None else options.seconds
    started = time.monotonic()
    report = run(seed=seed, cases=options.cases, seconds=seconds)
    print(f"seed {seed}, {time.monotonic() - started:.1f} s\n{report}")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
