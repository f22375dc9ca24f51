"""Compares the release build of this tree with that of an earlier commit: the same syncs by both, in turns, so that whatever else the
machine does meets both. Prints, for each sync, the median of the ratios of the pairs. Called by `make bench-pairs BEFORE=COMMIT`.

Usage: pairs.py TARGET_DIR COMMIT [PAIRS]    (BENCH_RUNS and BENCH_STEPS change the sizes)
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import METRICS, RUNS, STEPS
from measure import KEY, Server, median, timed

ROOT = Path(__file__).resolve().parents[2]
# Where they come from, the configuration, and the shape of the project: as many metric points in each.
SHAPES = [
    ("rest", {"api": "rest", "page_size": 1000}, {"runs": RUNS, "steps": STEPS}, ()),
    ("graphql, by steps", {"api": "graphql"}, {"runs": RUNS, "steps": STEPS}, ("--no-parquet",)),
    ("graphql, exports", {"api": "graphql"}, {"runs": RUNS // 10, "steps": STEPS * 10}, ()),
]
DESTINATIONS = [("null", "null:"), ("parquet", "parquet:ours"), ("SQLite", "sqlite:ours.db")]
# Ours may take this much of the time before, at most.
WANTED = 1.10


def build_before(commit, target):
    """The binary of an earlier commit, built in a clone of its own. Nothing is built twice."""
    clone = target / "before" / commit
    if not clone.exists():
        subprocess.check_call(["git", "clone", "--quiet", str(ROOT), str(clone)])
        subprocess.check_call(["git", "-C", str(clone), "checkout", "--quiet", "--detach", commit])
    variables = {**os.environ, "REVISION": ""}
    variables.pop("CARGO_TARGET_DIR", None)
    subprocess.check_call(["make", "-C", str(clone), "build"], env=variables)
    return clone / "target/release/wandb-connector"


def sync(binary, cache, server, destination, config):
    """Seconds of one sync from nothing, in an empty folder."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        folder = Path(folder)
        config = {"api_key": KEY, "entity": "acme", "project": "bench", "base_url": server.url, **config}
        (folder / "configuration.json").write_text(json.dumps(config))
        os.chmod(folder / "configuration.json", 0o600)
        command = [binary, "sync", "--config", "configuration.json", "--destination", destination, "--format", "json"]
        timing = timed(command, folder, {"HOME": str(folder), "XDG_CACHE_HOME": str(cache)})
        rows = json.loads(timing.output)["rows"]["metrics"]
        if rows != server.rows:
            sys.exit(f"{binary} stored {rows} of {server.rows} metric points")
        return timing.seconds


def main(target, commit, pairs="10"):
    target = Path(target).resolve()
    commit = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "--short", commit], text=True).strip()
    binaries = [build_before(commit, target), target / "release/wandb-connector"]
    caches = [target / "before" / f"cache-{name}" for name in ("before", "now")]
    for cache in caches:
        cache.mkdir(parents=True, exist_ok=True)
    print(f"{pairs} pairs against {commit}; {RUNS * STEPS * METRICS:,} metric points each")
    print("| on | into | before, s | now, s | now / before, median | least and most |")
    print("|---|---|---|---|---|---|")
    worse = []
    for where, config, shape, flags in SHAPES:
        with Server(target, *flags, metrics=METRICS, **shape) as server:
            # The first sync of each build compiles its component, and is not counted.
            for binary, cache in zip(binaries, caches):
                sync(binary, cache, server, "null:", config)
            for name, destination in DESTINATIONS:
                timings = []
                for pair in range(int(pairs)):
                    # Each of the two goes first in every other pair.
                    order = (0, 1) if pair % 2 == 0 else (1, 0)
                    seconds = {which: sync(binaries[which], caches[which], server, destination, config) for which in order}
                    timings.append((seconds[0], seconds[1]))
                ratios = sorted(now / before for before, now in timings)
                ratio = median(ratios)
                before, now = (median([pair[which] for pair in timings]) for which in (0, 1))
                print(f"| {where} | {name} | {before:.2f} | {now:.2f} | **{ratio:.2f}** | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)
                if ratio > WANTED:
                    worse.append(f"{where}, {name}: {ratio:.2f}")
    print(f"Slower by more than {WANTED - 1:.0%}: {'; '.join(worse) or 'none'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
