"""python -m tests.hostile: many cases with a bar and a limit of time, or one of them again."""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from tests.hostile import sound, worker  # noqa: E402  the path is set above
from tests.hostile.case import TURNS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000, help="how many [5000]")
    parser.add_argument("--first", type=int, default=0, help="the number of the first: goes on where another run ended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="no case begins after so many [60]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kind", choices=sorted(set(TURNS)), help="only cases of this kind")
    parser.add_argument("--log", type=Path, help="a line of JSON for every fault, and for every error line that is new")
    parser.add_argument("--replay", type=int, metavar="NUMBER", help="run one case and show what it prints")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="with --replay: leave its files there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        good = Path(name)
        making = multiprocessing.get_context("fork").Process(target=sound.make, args=(good,))
        making.start()  # apart: what it leaves in memory would be copied for every case
        making.join()
        worker.warm_up(good)
        return replay(args, good) if args.replay is not None else run_many(args, good)


def replay(args, good) -> int:
    outcome = worker.run_case(args.seed, args.replay, good, args.keep)
    print("minilora", *map(repr, outcome.argv), f"\nwrong: {outcome.wrong or 'not known'}; exit code {outcome.code}")
    print(outcome.err, end="")
    print(outcome.fault or "as it should be")
    return 1 if outcome.fault else 0


def run_many(args, good) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    numbers = [n for n in range(args.first, args.first + args.cases) if args.kind in (None, TURNS[n % len(TURNS)])]
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[faults]} faults"), TimeRemainingColumn())
    faults, done, spent, seen, began = [], Counter(), Counter(), set(), time.monotonic()
    with Progress(*columns) as bar:
        task = bar.add_task("", total=len(numbers), faults=0)
        for outcome in outcomes(args.seed, numbers, good, args.jobs, began + 60 * args.minutes):
            done[outcome.kind, outcome.code] += 1
            spent[outcome.kind] += outcome.seconds
            if outcome.fault:
                faults.append(outcome)
                bar.console.print(f"case {outcome.number} ({outcome.kind}): {outcome.fault}", markup=False)
            line = outcome.err.strip().rpartition("\n")[2][:400]
            if args.log and (outcome.fault or line[:60] not in seen):
                seen.add(line[:60])
                with args.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(vars(outcome) | {"err": outcome.err[-2000:]}) + "\n")
            bar.update(task, advance=1, faults=len(faults))
    total = sum(done.values())
    print(f"{total:,} cases of seed {args.seed} in {time.monotonic() - began:.0f} s, {len(faults)} faults")
    if total < len(numbers):
        print(f"the time is over; go on with --first {args.first + total}")
    for kind in sorted(set(TURNS)):
        print(
            f"  {kind:12} {spent[kind]:5.0f} s ",
            ", ".join(f"exit code {c}: {n}" for (k, c), n in sorted(done.items()) if k == kind),
        )
    if faults:
        print("again: python -m tests.hostile", f"--seed {args.seed} --replay", faults[0].number)
    return 1 if faults else 0


def outcomes(seed, numbers, good, jobs, until):
    """The outcomes of the cases, in order, from `jobs` processes."""
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        pending = ((seed, number, good, until) for number in numbers)
        for outcome in pool.imap(one, pending, chunksize=8):
            if outcome is None:
                return
            yield outcome


def one(arguments):
    seed, number, good, until = arguments
    return None if time.monotonic() > until else worker.run_case(seed, number, good)


if __name__ == "__main__":
    sys.exit(main())
