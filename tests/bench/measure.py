"""Servers, timed commands and medians."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

KEY = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 900
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """A local W&B server with a project of equal runs; ends with the block."""

    def __init__(self, target, *flags, runs, steps, metrics):
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

    def stats(self):
        """Requests and connections so far. Each call is a connection more."""
        with urllib.request.urlopen(f"{self.url}/_control/stats", timeout=10) as answer:
            return json.load(answer)

    def cpu(self):
        return cpu_of(self.process.pid)


def cpu_of(pid):
    """Seconds of processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@dataclass
class Timing:
    """One command, ended with success. Times in seconds; memory, the peak of the process, in MiB."""

    seconds: float
    cpu: float
    memory: float
    output: str


class Hung(Exception):
    """A command did not end."""


def timed(command, folder, variables=None, patience=PATIENCE):
    """Runs a command that must succeed. Raises `Hung` when it takes longer than `patience` seconds; then it is ended."""
    with tempfile.TemporaryFile(dir=folder) as output, tempfile.TemporaryFile(dir=folder) as errors:
        before = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=errors)
        killer = threading.Timer(patience, process.kill)
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - before
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if killer.finished.is_set() and seconds >= patience:
            raise Hung(str(command))
        if process.returncode != 0:
            sys.exit(f"{command} failed:\n{errors.read().decode(errors='replace')}")
        return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.read().decode())


def in_turns(functions, repeat, target):
    """The median timing of each function; they run in turns, each in an empty folder."""
    timings = [[] for _ in functions]
    for _ in range(repeat):
        for times, function in zip(timings, functions):
            with tempfile.TemporaryDirectory(dir=target) as folder:
                times.append(function(Path(folder)))
    return [sorted(times, key=lambda timing: timing.seconds)[len(times) // 2] for times in timings]


def median(values):
    return statistics.median(values)
