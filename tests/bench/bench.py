"""Measures the release build against its peers on this machine: server and client on the same cores, each row with its peer in one run,
medians of several. Prints tables and writes tests/bench/RESULTS.md. Called by `make bench`.

Usage: bench.py TARGET_DIR [PART…]    (BENCH_RUNS, BENCH_STEPS and BENCH_REPEAT change the sizes; parts print, and write nothing)
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import report
import tenants
from measure import KEY, Hung, Server, in_turns, median, timed

HERE = Path(__file__).resolve().parent
RUNS = int(os.environ.get("BENCH_RUNS", "200"))
STEPS = int(os.environ.get("BENCH_STEPS", "1000"))
METRICS = 10
REPEAT = int(os.environ.get("BENCH_REPEAT", "3"))
SDK_ATTEMPTS = 5
SDK_PATIENCE = 120


@dataclass
class Row:
    """One comparison. `wanted` is the ratio to reach: at least it where faster is more, at most it where `at_most`."""

    where: str
    peer_name: str
    peer: float
    name: str
    own: float
    rows: int
    wanted: str
    # Processor seconds of our process and of the server, while ours ran.
    cpu: float = 0.0
    server_cpu: float = 0.0


class Bench:
    def __init__(self, target):
        self.target = target
        self.python = target / "venv/bin/python"
        self.peers = target / "venv-bench/bin/python"
        self.results = {}
        self.hung = 0

    # What can be timed: functions of an empty folder.

    def configure(self, folder, server, config):
        config = {"api_key": KEY, "entity": "acme", "project": "bench", "base_url": server.url, **config}
        (folder / "configuration.json").write_text(json.dumps(config))
        os.chmod(folder / "configuration.json", 0o600)

    def variables(self, folder):
        # The compiled component is cached, as it is for a person from the second sync on.
        return {"HOME": str(folder), "XDG_CACHE_HOME": str(self.target / "bench-cache")}

    def ours(self, server, destination, **config):
        """Our sync, from nothing."""

        def run(folder):
            self.configure(folder, server, config)
            command = ["sync", "--config", "configuration.json", "--destination", destination, "--format", "json"]
            before = server.cpu()
            timing = timed([self.target / "release/wandb-connector", *command], folder, self.variables(folder))
            timing.server_cpu = server.cpu() - before
            return timing

        return run

    def baseline(self, server, *arguments, **config):
        """A part of `baseline`, with a configuration."""

        def run(folder):
            self.configure(folder, server, config)
            what, *others = arguments
            return timed([self.target / "release/examples/baseline", what, "configuration.json", *others], folder)

        return run

    def serial(self, server, page_size):
        def run(folder):
            script = HERE / "peers/serial_client.py"
            arguments = [server.url, KEY, "acme", "bench", str(page_size), "peer.db"]
            return timed([self.python, script, *arguments], folder, {"PATH": os.environ["PATH"]})

        return run

    def sdk(self, server):
        def run(folder):
            names = ["WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"]
            variables = {
                "PATH": os.environ["PATH"], "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_SILENT": "true",
                "WANDB_ERROR_REPORTING": "false", "NO_PROXY": "127.0.0.1", **{name: str(folder) for name in names},
            }
            # Now and then it stops for ever while it reads exports: then it is started again, and the time of that counts.
            for _ in range(SDK_ATTEMPTS):
                try:
                    command = [self.python, HERE / "peers/sdk_client.py", "acme", "bench"]
                    return timed(command, folder, variables, patience=SDK_PATIENCE)
                except Hung:
                    self.hung += 1
                    print("the SDK hangs; it is started again", flush=True)
            sys.exit("the SDK hung too often")

        return run

    def dlt(self, server, page_size):
        def run(folder):
            # It tells nobody that it is used.
            variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "RUNTIME__DLTHUB_TELEMETRY": "false"}
            script = HERE / "peers/dlt_client.py"
            timing = timed([self.peers, script, server.url, KEY, "acme", "bench", str(page_size)], folder, variables)
            if int(timing.output.split()[-1]) != RUNS * STEPS:
                sys.exit(f"dlt brought {timing.output} history rows")
            return timing

        return run

    def server(self, *flags, runs=RUNS, steps=STEPS, metrics=METRICS):
        return Server(self.target, *flags, runs=runs, steps=steps, metrics=metrics)

    # The parts.

    def compare(self, part, where, server, peer_name, peer, ours, repeat=REPEAT):
        """`ours`: name, what is wanted, function. Peers that take a minute are measured once."""
        peer_timing, *timings = in_turns([peer, *(function for _, _, function in ours)], repeat, self.target)
        for (name, wanted, _), timing in zip(ours, timings):
            row = Row(
                where, peer_name, peer_timing.seconds, name, timing.seconds, server.rows, wanted, timing.cpu,
                getattr(timing, "server_cpu", 0.0),
            )
            self.results.setdefault(part, []).append(row)
            print(f"{where}: {peer_name} {row.peer:.2f} s, {name} {row.own:.2f} s: {row.peer / row.own:.1f}x", flush=True)

    def part_peers(self):
        big = {"api": "rest", "page_size": 1000}
        with self.server() as server:
            self.compare(
                "peers", "rest, 0 ms, pages of 1,000", server, "serial Python into SQLite", self.serial(server, 1000),
                [("SQLite", "6x", self.ours(server, "sqlite:ours.db", **big)),
                 ("parquet", "12x", self.ours(server, "parquet:ours", **big)),
                 ("null", "", self.ours(server, "null:", **big))],
            )
            self.compare(
                "peers", "rest, 0 ms, pages of 1,000", server, "dlt into DuckDB", self.dlt(server, 1000),
                [("SQLite", "15x", self.ours(server, "sqlite:ours.db", **big)),
                 ("parquet", "15x", self.ours(server, "parquet:ours", **big))],
                repeat=1,
            )
        for where, flags in (("graphql, 0 ms, the SDK reading exports", ()), ("graphql, 0 ms, by steps", ("--no-parquet",))):
            with self.server(*flags) as server:
                self.compare(
                    "peers", where, server, "wandb SDK, storing nothing", self.sdk(server),
                    [("SQLite", "4x", self.ours(server, "sqlite:ours.db", api="graphql")),
                     ("parquet", "", self.ours(server, "parquet:ours", api="graphql")),
                     ("null", "10x", self.ours(server, "null:", api="graphql"))],
                )
        # Runs long enough that we read exports.
        long = {"runs": RUNS // 10, "steps": STEPS * 10}
        with self.server("--no-parquet", **long) as by_steps, self.server(**long) as exports:
            self.compare(
                "peers", "graphql, 0 ms, runs of 10,000 steps, exports", exports, "ours by steps, null",
                self.ours(by_steps, "null:", api="graphql"),
                [("SQLite", "", self.ours(exports, "sqlite:ours.db", api="graphql")),
                 ("parquet", "", self.ours(exports, "parquet:ours", api="graphql")),
                 ("null", "", self.ours(exports, "null:", api="graphql"))],
            )
        with self.server("--latency-ms", "20") as server:
            self.compare(
                "peers", "rest, 20 ms, pages of 100", server, "serial Python into SQLite", self.serial(server, 100),
                [("SQLite", "15x", self.ours(server, "sqlite:ours.db", api="rest", page_size=100, concurrency=32))],
                repeat=1,
            )
            self.compare(
                "peers", "graphql, 20 ms, the SDK reading exports", server, "wandb SDK, storing nothing", self.sdk(server),
                [("SQLite", "8x", self.ours(server, "sqlite:ours.db", api="graphql"))],
            )

    def part_native(self):
        """The same sync logic without WebAssembly. Here the ratio is ours to native: at most what is wanted."""
        for api in ("rest", "graphql"):
            with self.server() as server:
                config = {"api": api, "page_size": 1000}
                for name, destination, wanted in (("null", "null:", "1.6x"), ("SQLite", "sqlite:ours.db", "1.15x"), ("parquet", "parquet:ours", "")):
                    native = self.baseline(server, "sync", destination, **config)
                    self.compare("native", api, server, "native", native, [(name, wanted, self.ours(server, destination, **config))])

    def part_profile(self):
        """Who works how long while a sync lasts."""
        component = self.target / "wasm32-unknown-unknown/component/wandb_connector.wasm"
        shapes = [("rest", {"api": "rest", "page_size": 1000}, {}), ("graphql, by steps", {"api": "graphql"}, {}),
                  ("graphql, runs of 10,000 steps, exports", {"api": "graphql"}, {"runs": RUNS // 10, "steps": STEPS * 10})]
        rows = []
        for where, config, project in shapes:
            with self.server(**project) as server:
                for name, destination in (("null", "null:"), ("parquet", "parquet:ours"), ("SQLite", "sqlite:ours.db")):
                    measured = [json.loads(timing.output) for timing in in_turns(
                        [self.baseline(server, "profile", destination, component, **config)] * REPEAT, 1, self.target)]
                    middle = {key: median([one[key] for one in measured]) for key in measured[0]}
                    rows.append((where, name, middle))
                    print(f"profile, {where}, {name}: {middle}", flush=True)
        self.results["profile"] = rows

    def part_parse(self):
        """What WebAssembly costs a parser that does nothing else."""
        component = self.target / "wasm32-unknown-unknown/component/json_parse.wasm"
        measured = [json.loads(subprocess.check_output([self.target / "release/examples/baseline", "parse", component])) for _ in range(REPEAT)]
        middle = {name: median([one[name] for one in measured]) for name in measured[0]}
        self.results["parse"] = middle
        print(f"parse: {middle}", flush=True)

    def part_limits(self):
        """What no sync can beat: the download alone, the insertion alone."""
        rows = []
        for api in ("rest", "graphql"):
            with self.server() as server:
                config = {"api": api, "page_size": 1000}
                measured = [
                    in_turns([self.baseline(server, "limits", **config), self.ours(server, "sqlite:ours.db", **config),
                              self.ours(server, "parquet:ours", **config)], 1, self.target)
                    for _ in range(REPEAT)
                ]
                limits = [json.loads(limit.output) for limit, _, _ in measured]
                middle = {name: median([limit[name] for limit in limits]) for name in limits[0]}
                sqlite = median([own.seconds for _, own, _ in measured])
                parquet = median([own.seconds for _, _, own in measured])
                rows.append((api, server.rows, middle, sqlite, parquet))
                print(f"limits, {api}: {middle}, SQLite {sqlite:.2f} s, parquet {parquet:.2f} s", flush=True)
        self.results["limits"] = rows

    def part_memory(self):
        """The peak of the process, into SQLite, with projects of different shapes."""
        shapes = [
            ("200 runs, 1,000 steps, 10 metrics", 200, 1000, 10),
            ("200 runs, 10,000 steps, 10 metrics", 200, 10_000, 10),
            ("2,000 runs, 1,000 steps, 10 metrics", 2000, 1000, 10),
            ("1 run, 2,000,000 steps, 1 metric", 1, 2_000_000, 1),
            ("20 runs, 20 steps, 5,000 metrics", 20, 20, 5000),
        ]
        rows = []
        for shape, runs, steps, metrics in shapes:
            with self.server(runs=runs, steps=steps, metrics=metrics) as server:
                for api in ("rest", "graphql"):
                    function = self.ours(server, "sqlite:ours.db", api=api, page_size=1000)
                    timing = in_turns([function], 1, self.target)[0]
                    rows.append((shape, api, server.rows, timing.memory, timing.seconds))
                    print(f"memory, {shape}, {api}: {timing.memory:.0f} MiB, {timing.seconds:.1f} s", flush=True)
        self.results["memory"] = rows

    def part_start(self):
        """From the start of the process to the first byte at the server."""
        component = self.target / "wasm32-unknown-unknown/component/wandb_connector.wasm"
        times = {"cached": [self.first_request(cached=True) for _ in range(11)],
                 "not cached": [self.first_request(cached=False) for _ in range(3)]}
        engine = json.loads(timed([self.target / "release/examples/baseline", "start", component], self.target).output)
        self.results["start"] = {name: median(seconds) for name, seconds in times.items()}, engine
        print(f"start: {self.results['start']}", flush=True)

    def first_request(self, cached):
        with socket.socket() as listener, tempfile.TemporaryDirectory(dir=self.target) as folder:
            folder = Path(folder)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.settimeout(60)
            config = {"api_key": KEY, "entity": "acme", "project": "bench", "base_url": f"http://127.0.0.1:{listener.getsockname()[1]}"}
            (folder / "configuration.json").write_text(json.dumps(config))
            os.chmod(folder / "configuration.json", 0o600)
            variables = self.variables(folder) if cached else {"HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
            command = [self.target / "release/wandb-connector", "sync", "--config", "configuration.json", "--destination", "sqlite:ours.db"]
            before = time.monotonic()
            process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            connection, _ = listener.accept()
            connection.recv(1)
            seconds = time.monotonic() - before
            process.kill()
            process.wait()
            connection.close()
            return seconds

    def part_requests(self):
        """Requests and connections, by the server's own count."""
        rows = []
        shapes = [
            ("rest", {"api": "rest", "page_size": 1000}, {}),
            ("rest, pages of 100, concurrency 32", {"api": "rest", "page_size": 100, "concurrency": 32}, {}),
            ("graphql, by steps", {"api": "graphql"}, {}),
            ("graphql, 20 runs of 10,000 steps, exports", {"api": "graphql"}, {"runs": 20, "steps": STEPS * 10}),
        ]
        for name, config, shape in shapes:
            with self.server(**shape) as server:
                before = server.stats()
                in_turns([self.ours(server, "null:", **config)], 1, self.target)
                after = server.stats()
            runs, steps = shape.get("runs", RUNS), shape.get("steps", STEPS)
            if config["api"] == "rest":
                # A page of the listing for each `page_size` runs, one of a history for each `page_size` steps.
                least = -(-runs // config["page_size"]) + runs * -(-steps // config["page_size"])
            elif steps < 5000:
                # One page of the listing, and one request for each run, which brings its row and its history.
                least = -(-runs // 100) + runs
            else:
                # For each run: its row with the live history, where the exports are, and one file.
                least = -(-runs // 100) + runs * 3
            requests, connections = (after[key] - before[key] for key in ("requests", "connections"))
            rows.append((name, requests, least, connections - 1, config.get("concurrency", 16) + 2))
            print(f"requests, {name}: {requests} (least {least}), {connections - 1} connections", flush=True)
        self.results["requests"] = rows

    def part_tenants(self):
        """Many tenants in one process."""
        self.results["tenants"] = tenants.measure(self.target)

    def run(self, parts):
        shutil.rmtree(self.target / "bench-cache", ignore_errors=True)
        # The first sync of all compiles the component.
        with self.server(runs=1, steps=1) as server:
            in_turns([self.ours(server, "null:")], 1, self.target)
        for part in parts:
            getattr(self, f"part_{part}")()


PARTS = ["peers", "profile", "native", "parse", "limits", "memory", "start", "requests", "tenants"]


def main(target, *parts):
    bench = Bench(Path(target).resolve())
    bench.run(parts or PARTS)
    if not parts:
        text = report.write(bench.results, RUNS, STEPS, METRICS, REPEAT, bench.hung)
        (HERE / "RESULTS.md").write_text(text)
        print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
