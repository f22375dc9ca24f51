"""Measures the release build against its peers on this machine: server and client on the same cores, each row with its peer in one run,
medians of several. Prints a table and writes tests/bench/RESULTS.md. Called by `make bench`.

Usage: bench.py TARGET_DIR    (BENCH_RUNS, BENCH_STEPS and BENCH_REPEAT change the sizes)
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = "0123456789abcdef0123456789abcdef01234567"
RUNS = int(os.environ.get("BENCH_RUNS", "200"))
STEPS = int(os.environ.get("BENCH_STEPS", "1000"))
METRICS = 10
REPEAT = int(os.environ.get("BENCH_REPEAT", "3"))
PATIENCE = 900


class Server:
    """A local W&B server with that project; ends with the block."""

    def __init__(self, target, *flags, runs=RUNS, steps=STEPS, metrics=METRICS):
        self.command = [
            target / "release/local-wandb", "--preset", "bench", "--runs", str(runs), "--steps", str(steps),
            "--metrics", str(metrics), "--entity", "acme", "--project", "bench", *flags,
        ]
        self.rows = runs * steps * metrics

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split(" ")[0]
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def timed(command, folder, variables=None):
    """Seconds and the peak memory in MiB of a command that must succeed, and what it printed."""
    before = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    output, errors = process.communicate(timeout=PATIENCE)
    seconds = time.monotonic() - before
    if process.returncode != 0:
        sys.exit(f"{command} failed:\n{errors}")
    return seconds, output


def peak_of(command, folder, variables):
    """The peak resident memory of one command in MiB, measured by a parent of its own."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL,"
        " stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    _, output = timed([sys.executable, "-c", program, *map(str, command)], folder, variables)
    return float(output)


class Bench:
    def __init__(self, target):
        self.target = target
        self.python = target / "venv/bin/python"
        self.rows = []

    def ours(self, server, destination, **config):
        """A function that runs our sync once from nothing."""
        config = {"api_key": KEY, "entity": "acme", "project": "bench", "base_url": server.url, **config}

        def run(folder):
            (folder / "configuration.json").write_text(json.dumps(config))
            os.chmod(folder / "configuration.json", 0o600)
            return timed(self.command(destination), folder, self.variables(folder))[0]

        return run

    def command(self, destination):
        return [
            self.target / "release/wandb-connector", "sync", "--config", "configuration.json", "--destination",
            destination, "--format", "json",
        ]

    def variables(self, folder):
        # The compiled component is cached, as it is for a person from the second sync on.
        return {"HOME": str(folder), "XDG_CACHE_HOME": str(self.target / "bench-cache")}

    def serial(self, server, page_size):
        def run(folder):
            script = [self.python, HERE / "serial_client.py", server.url, KEY, "acme", "bench", str(page_size), "peer.db"]
            return timed(script, folder, {"PATH": os.environ["PATH"]})[0]

        return run

    def sdk(self, server):
        def run(folder):
            names = ["WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"]
            variables = {
                "PATH": os.environ["PATH"], "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_SILENT": "true",
                "WANDB_ERROR_REPORTING": "false", "NO_PROXY": "127.0.0.1", **{name: str(folder) for name in names},
            }
            return timed([self.python, HERE / "sdk_client.py", "acme", "bench"], folder, variables)[0]

        return run

    def measure(self, functions):
        """Medians of the functions, run in turns, each in an empty folder."""
        seconds = [[] for _ in functions]
        for _ in range(REPEAT):
            for times, function in zip(seconds, functions):
                with tempfile.TemporaryDirectory(dir=self.target) as folder:
                    times.append(function(Path(folder)))
        return [statistics.median(times) for times in seconds]

    def compare(self, what, server, peer, peer_name, ours):
        names, functions = zip(*ours)
        peer_seconds, *own = self.measure([peer, *functions])
        for (name, target), seconds in zip(names, own):
            self.rows.append((what, peer_name, name, peer_seconds, seconds, server.rows, target))
            print(f"{what}: {peer_name} {peer_seconds:.2f} s, {name} {seconds:.2f} s: {peer_seconds / seconds:.1f}x", flush=True)

    def run(self):
        # The first sync of all compiles the component.
        with Server(self.target, runs=1, steps=1) as server:
            with tempfile.TemporaryDirectory(dir=self.target) as folder:
                self.ours(server, "null:")(Path(folder))
        with Server(self.target) as server:
            big = {"api": "rest", "page_size": 1000}
            self.compare(
                "rest, 0 ms, pages of 1,000", server, self.serial(server, 1000), "serial Python into SQLite",
                [(("SQLite", "6x"), self.ours(server, "sqlite:ours.db", **big)),
                 (("parquet", "12x"), self.ours(server, "parquet:ours", **big)),
                 (("null", ""), self.ours(server, "null:", **big))],
            )
            self.compare(
                "graphql, 0 ms, the SDK reading exports", server, self.sdk(server), "wandb SDK, storing nothing",
                [(("SQLite", "4x"), self.ours(server, "sqlite:ours.db", api="graphql")),
                 (("null", "10x"), self.ours(server, "null:", api="graphql"))],
            )
        with Server(self.target, "--no-parquet") as server:
            self.compare(
                "graphql, 0 ms, by steps", server, self.sdk(server), "wandb SDK, storing nothing",
                [(("SQLite", "4x"), self.ours(server, "sqlite:ours.db", api="graphql")),
                 (("null", "10x"), self.ours(server, "null:", api="graphql"))],
            )
        with Server(self.target, "--latency-ms", "20") as server:
            small = {"api": "rest", "page_size": 100, "concurrency": 32}
            self.compare(
                "rest, 20 ms, pages of 100", server, self.serial(server, 100), "serial Python into SQLite",
                [(("SQLite", "15x"), self.ours(server, "sqlite:ours.db", **small))],
            )
            self.compare(
                "graphql, 20 ms, the SDK reading exports", server, self.sdk(server), "wandb SDK, storing nothing",
                [(("SQLite", "8x"), self.ours(server, "sqlite:ours.db", api="graphql"))],
            )
        self.memory = [self.peak(runs, steps, api) for api in ("rest", "graphql") for runs, steps in ((200, 1000), (200, 10_000))]

    def peak(self, runs, steps, api):
        with Server(self.target, runs=runs, steps=steps) as server, tempfile.TemporaryDirectory(dir=self.target) as folder:
            folder = Path(folder)
            config = {"api_key": KEY, "entity": "acme", "project": "bench", "base_url": server.url, "api": api, "page_size": 1000}
            (folder / "configuration.json").write_text(json.dumps(config))
            megabytes = peak_of(self.command("sqlite:ours.db"), folder, self.variables(folder))
            print(f"peak memory, {api}, {server.rows:,} metric rows: {megabytes:.0f} MiB", flush=True)
            return api, server.rows, megabytes

    def report(self):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        lines = [
            "# Results", "",
            f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, {platform.machine()}; server and client on the same machine. "
            f"{RUNS} runs x {STEPS:,} steps x {METRICS} metrics; medians of {REPEAT}, peer and ours in turns. "
            "Written by `make bench`.", "",
            "| on | against | s | ours into | s | rows/s | ratio | wanted |", "|---|---|---|---|---|---|---|---|",
        ]
        for what, peer_name, name, peer, own, rows, target in self.rows:
            lines.append(
                f"| {what} | {peer_name} | {peer:.2f} | {name} | {own:.2f} | {rows / own / 1e6:.2f} M | {peer / own:.1f}x | {target} |"
            )
        lines += ["", "| peak memory of the process, SQLite | metric rows | MiB |", "|---|---|---|"]
        lines += [f"| {api} | {rows:,} | {megabytes:.0f} |" for api, rows, megabytes in self.memory]
        (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


def main(target):
    bench = Bench(Path(target).resolve())
    shutil.rmtree(bench.target / "bench-cache", ignore_errors=True)
    bench.run()
    bench.report()


if __name__ == "__main__":
    main(*sys.argv[1:])
