"""The results as Markdown."""

import os
import platform


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def write(results, runs, steps, metrics, repeat, hung):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = os.cpu_count()
    lines = [
        "# Results", "",
        f"{cores} cores, {memory:.0f} GiB, {platform.system()}, {platform.machine()}; server and client on the same machine. "
        f"{runs} runs x {steps:,} steps x {metrics} metrics unless said otherwise; medians of {repeat}, peer and ours in turns (once where the "
        f"peer takes a minute). "
        "Written by `make bench`.", "",
    ]
    lines += ["## Against others", "",
              "*busy*: processor time of our process and of the server, as a share of all cores while ours ran.", ""]
    lines += table(
        ["on", "against", "s", "ours into", "s", "rows/s", "ratio", "wanted", "busy: ours, server"],
        [(row.where, row.peer_name, f"{row.peer:.2f}", row.name, f"{row.own:.2f}", f"{row.rows / row.own / 1e6:.2f} M",
          f"**{row.peer / row.own:.1f}x**", row.wanted,
          f"{row.cpu / row.own / cores:.0%}, {row.server_cpu / row.own / cores:.0%}") for row in results["peers"]],
    )
    if hung:
        lines += [f"The SDK hung {hung} times, and was started again.", ""]
    lines += ["## What bounds it", "",
              "For how much of a sync the component computes (one thread, its calls of the host included), and the destination works (another "
              "thread). Whoever works nearly all the time is the bound; where both do, it is the cores.", ""]
    lines += table(
        ["on", "into", "s", "component", "destination"],
        [(where, name, f"{took['seconds']:.2f}", f"{took['component_seconds'] / took['seconds']:.0%}",
          f"{took['destination_seconds'] / took['seconds']:.0%}") for where, name, took in results["profile"]],
    )
    lines += ["## The component against the same code, native", ""]
    lines += table(
        ["on", "into", "native, s", "component, s", "ratio", "wanted, at most"],
        [(row.where, row.name, f"{row.peer:.2f}", f"{row.own:.2f}", f"**{row.own / row.peer:.2f}x**", row.wanted) for row in results["native"]],
    )
    parse = results["parse"]
    lines += ["What WebAssembly itself costs: `serde_json` reading pages of a history and nothing else, the same code each time.", ""]
    lines += table(
        ["reading JSON", "s", "MB/s", "ratio"],
        [(what, f"{parse[name]:.2f}", f"{parse['bytes'] / parse[name] / 1e6:.0f}", f"**{parse[name] / parse['native']:.2f}x**")
         for what, name in (("natively", "native"), ("in wasmtime", "wasm"), ("in a wasmtime that can interrupt it, as a host must", "interruptible"))],
    )
    lines += ["## Against the limit", "",
              "*download*: the same requests again, by a pooled client that drops what comes; what the server can do at most. *insert*: the same "
              "rows from memory, by a plain loop of 50-row statements. The limit is the larger of the two.", ""]
    limits = []
    for api, rows, limit, sqlite, parquet in results["limits"]:
        most = max(limit["download_seconds"], limit["insert_seconds"])
        limits.append((
            api, f"{limit['bytes'] / 1e6:.0f} MB", f"{limit['download_seconds']:.2f}", f"{rows / limit['download_seconds'] / 1e6:.1f} M",
            f"{limit['insert_seconds']:.2f}", f"{sqlite:.2f}", f"**{sqlite / most:.2f}x**", "1.3x", f"{parquet:.2f}",
            f"**{sqlite / parquet:.1f}x**", "3x",
        ))
    lines += table(
        ["on", "bytes", "download, s", "server's ceiling, rows/s", "insert, s", "our SQLite, s", "of the limit", "wanted, at most",
         "our parquet, s", "parquet to SQLite", "wanted"], limits,
    )
    lines += ["## Peak memory of the process, into SQLite", "", "Wanted: 100 MiB at most, and the same within 15 %.", ""]
    lines += table(
        ["project", "on", "metric rows", "MiB", "s"],
        [(shape, api, f"{rows:,}", f"{megabytes:.0f}", f"{seconds:.1f}") for shape, api, rows, megabytes, seconds in results["memory"]],
    )
    times, engine = results["start"]
    lines += ["## Start", ""]
    lines += table(
        ["what", "measured", "wanted"],
        [("process start to first request, component cached", f"{times['cached'] * 1000:.0f} ms", "40 ms"),
         ("process start to first request, component compiled", f"{times['not cached'] * 1000:.0f} ms", ""),
         ("compiling the component", f"{engine['compile_seconds'] * 1000:.0f} ms", ""),
         ("size of the component", f"{engine['component_bytes'] / 1e6:.2f} MB", ""),
         ("starting an instance, pooled", f"{engine['instantiate_pooled_us']:.0f} µs", "50 µs"),
         ("starting an instance, mapped for it", f"{engine['instantiate_mapped_us']:.0f} µs", "")],
    )
    lines += ["## Requests and connections, by the server's count", ""]
    lines += table(
        ["on", "requests", "the least", "wanted, at most", "connections", "wanted, at most"],
        [(name, f"{requests:,}", f"{least:,}", f"{least * 1.1:,.0f}", connections, most) for name, requests, least, connections, most in results["requests"]],
    )
    lines += ["## Many tenants", "",
              "One process of `serve` with as many slots as it takes by itself; a tenant's project has one run unless said otherwise. "
              "The hostile tenant runs a component of its own, under the same limits as all.", ""]
    lines += table(
        ["what", "measured", "wanted, at most (of throughput: at least)"],
        [("starting an instance, pooled", f"{engine['instantiate_pooled_us']:.0f} µs", "50 µs"), *results["tenants"]],
    )
    return "\n".join(lines)
