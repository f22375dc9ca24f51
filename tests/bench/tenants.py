"""Many tenants in one process of `serve`: what each costs, and what they cost each other. Times are those of the host's own history."""

import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from measure import KEY, Server, cpu_of, median, timed

MIB = 2**20
PATIENCE = 120
# Syncs of trivial projects that are due each second, and seconds of that.
OFFERED = 50
WINDOW = 15
# Ordinary tenants, each with a sync a second, for so many seconds: a p99 needs more than a few syncs beyond it.
ORDINARY = 50
BESIDE = 25
MANY = 4
ALIVE = 200
TOGETHER = 8


class Host:
    """`serve` with these tenants; ends with the block. Afterwards there is its history."""

    def __init__(self, target, tenants):
        self.target = target
        self.tenants = tenants

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(dir=self.target)
        folder = Path(self.folder.name)
        text = '[defaults]\npolicy.allow_networks = ["127.0.0.1"]\n' + "".join(self.tenants)
        (folder / "tenants.toml").write_text(text)
        self.history = folder / "tenants-history.db"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        command = [
            self.target / "release/wandb-connector", "serve", "--tenants", "tenants.toml", "--listen", self.address, "--drain", "1s",
        ]
        variables = {"HOME": str(folder), "XDG_CACHE_HOME": str(self.target / "bench-cache"), "TENANT_KEY": KEY}
        self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.until("ready", self.ready)
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def stop(self):
        """Starts nothing more, and lets what runs end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            sys.exit("serve does not end")

    def until(self, what, is_so):
        end = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > end or self.process.poll() is not None:
                self.process.kill()
                sys.exit(f"serve was never {what}")
            # What is waited for is another process's.
            time.sleep(0.02)

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def resident(self):
        """Bytes."""
        line = next(line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) << 10

    def query(self, sql):
        connection = sqlite3.connect(self.history, timeout=PATIENCE)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def ended(self, count):
        """Waits for so many syncs to have ended."""
        self.until(f"at the end of {count} syncs", lambda: self.query("SELECT count(ended_us) FROM syncs")[0][0] >= count)


def tenant(name, server, every, jitter, destination="sqlite", component=None, **config):
    """An entry of the file. All tenants read one project; each has a destination of its own."""
    path = {"sqlite": f"{name}.db", "parquet": name, "null": ""}[destination]
    config = {"entity": "acme", "project": "bench", "base_url": server.url, **config} if component is None else config
    schedule = f'every = "{every}s"' + (f', jitter = "{jitter}s"' if jitter else "")
    lines = [
        "[[tenant]]", f'id = "{name}"', f'destination = "{destination}:{path}"',
        f'schedule = {{ {schedule} }}',
        *([f"component = {json.dumps(str(component))}"] if component else []),
        "[tenant.config]", 'api_key = { env = "TENANT_KEY" }',
        *(f"{key} = {json.dumps(value)}" for key, value in config.items()),
    ]
    return "\n".join(lines) + "\n"


def tenants(count, server, every, jitter, **more):
    return [tenant(f"tenant-{n}", server, every, jitter, **more) for n in range(count)]


def percentile(values, share):
    values = sorted(values)
    return values[max(math.ceil(share * len(values)) - 1, 0)]


def seconds(microseconds):
    return microseconds / 1e6


def shown(time):
    return f"{time:.2f} s" if time >= 1 else f"{time * 1e3:.1f} ms"


def trivial(target):
    return Server(target, runs=1, steps=10, metrics=2)


def idle(target, counts):
    """Bytes of a tenant that is registered and not due."""
    year = 365 * 24 * 3600

    def resident(count):
        with trivial(target) as server, Host(target, tenants(count, server, year, year)) as host:
            # The file is looked at twice before it is left alone, and nobody is told of that.
            time.sleep(2.5)
            return host.resident()

    base = median([resident(1) for _ in range(3)])
    return [
        (f"{count:,} registered, none due: memory of each", f"{(resident(count) - base) / count / 1024:.1f} KiB", "16 KiB")
        for count in counts
    ]


def delays(target, count):
    """Between the moments that syncs were due and those that they started, at a steady rate."""
    interval = count // OFFERED
    with trivial(target) as server, Host(target, tenants(count, server, interval, interval, destination="null")) as host:
        began = time.time()
        # The measurement: what is due in this time. What is late counts too.
        time.sleep(WINDOW + 3)
        host.stop()
        rows = host.query("SELECT due_us, started_us, ended_us, outcome FROM syncs WHERE ended_us IS NOT NULL")
    rows = [row for row in rows if seconds(row[0]) < began + WINDOW]
    waited = [seconds(started - due) for due, started, _, _ in rows]
    well = sum(outcome == "ok" for *_, outcome in rows)
    what = f"{count:,} registered, {len(rows) / WINDOW:.0f} due each second, into null ({well:,} of {len(rows):,} ok): scheduling delay p50, p99"
    return [(what, f"{shown(percentile(waited, 0.5))}, {shown(percentile(waited, 0.99))}", "p99 1 s")]


def all_at_once(target, count, destination, few=None):
    """Syncs of trivial projects, all due at once; and, against `few`, what a tenant takes that was synced and waits for the next time."""
    rows, resident = [], {}
    for number in (few, count) if few else (count,):
        with trivial(target) as server, Host(target, tenants(number, server, 3600, 0, destination=destination)) as host:
            host.ended(number)
            cpu, server_cpu = cpu_of(host.process.pid), server.cpu()
            resident[number] = host.resident()
            host.stop()
            (first, last, well), = host.query("SELECT min(started_us), max(ended_us), sum(outcome = 'ok') FROM syncs")
    took = seconds(last - first)
    busy = f"{cpu / took / os.cpu_count():.0%} of all cores, server {server_cpu / took / os.cpu_count():.0%}"
    rows.append((f"{count:,} due at once, into {destination} ({well:,} ok; {busy}): syncs each second", f"{count / took:.0f}", ""))
    if few:
        each = (resident[count] - resident[few]) / (count - few) / 1024
        rows.append((f"{count:,} synced once, none due: memory of each", f"{each:.1f} KiB", "16 KiB"))
    return rows


def running(target):
    """Memory of syncs that run at once, each held at the same request."""
    component = target / "wasm32-unknown-unknown/component/wandb_connector.wasm"
    with trivial(target) as server, tempfile.TemporaryDirectory(dir=target) as folder:
        config = {"api_key": KEY, "entity": "acme", "project": "bench", "base_url": server.url}
        (Path(folder) / "configuration.json").write_text(json.dumps(config))
        command = [target / "release/examples/baseline", "running", component, "configuration.json", "sqlite", str(ALIVE)]
        measured = json.loads(timed(command, folder).output)
    most = max(measured["bytes_per_sync_at_request"])
    return [(f"{ALIVE} syncs at once, into SQLite: memory of each, at most", f"{most / MIB:.2f} MiB", "2 MiB")]


# What processes do that have nothing to do with `serve` and run only where nobody else wants to.
IDLE = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
SPINS = IDLE + "while True: pass"
COPIES = IDLE + "here, there = bytearray(2**26), bytearray(2**26)\nwhile True: here[:] = there"


def hostile(target, latency, wanted, processes):
    """What tenants do to ordinary ones beside them, by what their component does; and what processes do that are no tenants. W&B answers
    after `latency` milliseconds."""
    guest = target / "wasm32-unknown-unknown/component/scripted_guest.wasm"
    kinds = [
        ("an endless loop", 1, [["loop"]]),
        (f"{MANY} endless loops", MANY, [["loop"]]),
        ("a memory bomb", 1, [["memory"]]),
        ("a flood of log lines", 1, [["log-forever"]]),
        ("giant batches", 1, [["checkpoints-forever", 500_000]]),
        ("thousands of requests", 1, [["open", "{url}/graphql", 1000]] * 10),
    ]

    def slowest(server, count=0, script=None, process=None):
        beside = tenants(ORDINARY, server, 1, 1)
        script = json.loads(json.dumps(script).replace("{url}", server.url))
        beside += [
            tenant(f"hostile-{n}", server, 1, 0, component=guest, script=script, base_url=server.url) for n in range(count)
        ]
        other = process and subprocess.Popen([sys.executable, "-c", process])
        try:
            with Host(target, beside) as host:
                # The first sync of a tenant makes its database, and all of them are at the start.
                first = "SELECT count(DISTINCT tenant) FROM syncs WHERE tenant NOT LIKE 'hostile-%' AND ended_us IS NOT NULL"
                host.until("done with the first syncs", lambda: host.query(first)[0][0] == ORDINARY)
                began = time.time()
                # The measurement: what ends in this time.
                time.sleep(BESIDE)
                host.stop()
                rows = host.query("SELECT ended_us - started_us, outcome, tenant LIKE 'hostile-%', started_us FROM syncs WHERE ended_us IS NOT NULL")
        finally:
            if other:
                other.kill()
                other.wait()
        # A hostile sync ends with the host at the latest.
        if sum(is_hostile for _, _, is_hostile, _ in rows) < count:
            sys.exit("the hostile tenants did not run")
        rows = [row for row in rows if not row[2] and seconds(row[3]) >= began]
        times = [seconds(row[0]) for row in rows]
        return percentile(times, 0.5), percentile(times, 0.99), len(rows), sum(row[1] != "ok" for row in rows)

    rows = []
    with Server(target, "--latency-ms", str(latency), runs=5, steps=100, metrics=5) as server:
        without = [slowest(server)]
        measured = [(name, slowest(server, count, script), wanted) for name, count, script in kinds]
        without.append(slowest(server))
        measured += [(f"no tenant, but a process of the lowest priority that {what}", slowest(server, process=code), "") for what, code in processes]
        without.append(slowest(server))
    base = [median([one[index] for one in without]) for index in (0, 1)]
    noise = max(abs(one[1] / base[1] - 1) for one in without)
    what = f"{ORDINARY} ordinary tenants, {latency} ms from W&B, {without[0][2]} syncs: time of a sync p50, p99"
    rows.append((what, f"{shown(base[0])}, {shown(base[1])}; p99 ± {noise:.0%} in three runs", ""))
    for name, (middle, high, count, failed), wanted in measured:
        what = f"the same beside {name}, {count} syncs ({failed} failed)"
        rows.append((what, f"{shown(middle)}, {shown(high)}: **{high / base[1]:.2f}x**", wanted))
    return rows


def together(target):
    """Rows each second of many tenants at once, and of one alone."""
    rows = []
    with Server(target, runs=50, steps=1000, metrics=10) as server:
        for destination in ("sqlite", "parquet"):
            rate = {}
            for count, repeat in ((1, 3), (TOGETHER, 1)):
                rates = []
                for _ in range(repeat):
                    with Host(target, tenants(count, server, 3600, 0, destination=destination)) as host:
                        host.ended(count)
                        host.stop()
                        (total, first, last), = host.query("SELECT sum(rows), min(started_us), max(ended_us) FROM syncs")
                        rates.append(total / seconds(last - first))
                rate[count] = median(rates)
            what = f"{TOGETHER} tenants at once against one alone, into {destination}: rows/s"
            ratio = f"{rate[TOGETHER] / 1e6:.2f} M, {rate[1] / 1e6:.2f} M: **{rate[TOGETHER] / rate[1]:.2f}x**"
            rows.append((what, ratio, "0.9x"))
    return rows


def measure(target):
    """What was measured, how much, and what is wanted; row by row."""
    parts = [
        lambda: idle(target, (1_000, 10_000)),
        lambda: delays(target, 1_000),
        lambda: delays(target, 10_000),
        lambda: all_at_once(target, 1_000, "null", few=200),
        lambda: all_at_once(target, 200, "sqlite"),
        lambda: running(target),
        lambda: hostile(target, 20, "p99 1.25x", []),
        lambda: hostile(target, 0, "", [("spins", SPINS), ("copies memory", COPIES)]),
        lambda: together(target),
    ]
    rows = []
    for part in parts:
        for row in part():
            print("tenants: " + " | ".join(row), flush=True)
            rows.append(row)
    return rows
