"""Looks at what a sync brought, with nothing but Python's standard library.

    look.py runs DATABASE          the newest runs, as a table
    look.py plot DATABASE          one run's loss, as a curve
    look.py mark DATABASE          the time of the last sync
    look.py moved DATABASE MARK    how many rows syncs after MARK wrote
"""

import sqlite3
import sys

TABLES = ("runs", "metrics", "metric_objects")
# Of the plot, in characters; each holds 2 by 4 points of braille.
WIDTH, HEIGHT = 72, 12


def runs(database):
    rows = database.execute(
        """
        SELECT name, state, coalesce(user, ''), substr(created_at, 1, 16),
               (SELECT count(DISTINCT step) FROM metrics WHERE metrics.run_id = runs.run_id),
               (SELECT count(*) FROM metrics WHERE metrics.run_id = runs.run_id)
        FROM runs ORDER BY created_at DESC LIMIT 8
        """
    ).fetchall()
    table(("run", "state", "user", "created", "steps", "metric rows"), rows)
    counts = [database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES]
    print("\n" + ", ".join(f"{count:,} rows in {name}" for name, count in zip(TABLES, counts)) + "\n")


def table(headings, rows):
    cells = [[f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [headings, *cells]) for i in range(len(headings))]
    right = [rows and isinstance(rows[0][i], int) for i in range(len(headings))]
    for row in [headings, ["-" * width for width in widths], *cells]:
        aligned = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right)]
        print("  ".join(aligned).rstrip())


def printable(text):
    return "".join(character if character.isprintable() else "?" for character in text)


def plot(database):
    found = database.execute(
        """
        SELECT run_id, metric_name FROM metrics
        WHERE metric_name LIKE '%loss%' AND metric_value IS NOT NULL
        GROUP BY run_id, metric_name ORDER BY count(*) DESC, run_id LIMIT 1
        """
    ).fetchone()
    if not found:
        sys.exit("no loss was logged")
    points = database.execute(
        "SELECT step, metric_value FROM metrics WHERE run_id = ? AND metric_name = ? "
        "AND metric_value BETWEEN -1e300 AND 1e300 ORDER BY step",
        found,
    ).fetchall()
    name = database.execute("SELECT name FROM runs WHERE run_id = ?", found[:1]).fetchone()[0]
    print(f"{printable(found[1])} of {printable(name)}")
    curve(points)


def curve(points):
    steps, values = zip(*points)
    low, high, first, last = min(values), max(values), min(steps), max(steps)
    columns, lines = WIDTH * 2, HEIGHT * 4
    place = lambda value, start, end, size: round((value - start) / ((end - start) or 1) * (size - 1))
    cells = [[0] * WIDTH for _ in range(HEIGHT)]
    previous = None
    for step, value in points:
        x, y = place(step, first, last, columns), place(high - value, 0, high - low, lines)
        # From one point to the next without a gap.
        for dot in between(previous or (x, y), (x, y)):
            draw(cells, *dot)
        previous = (x, y)
    for i, row in enumerate(cells):
        label = f"{high:.3g}" if i == 0 else f"{low:.3g}" if i == HEIGHT - 1 else ""
        print(f"{label:>8} ┤" + "".join(chr(0x2800 + bits) for bits in row))
    print(" " * 9 + "└" + "─" * WIDTH)
    print(f"{'':10}{first}{'step':^{WIDTH - len(str(first)) - len(str(last))}}{last}")


def between(start, end):
    count = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for i in range(count + 1):
        yield tuple(round(a + (b - a) * i / count) for a, b in zip(start, end))


def draw(cells, x, y):
    """Braille numbers its dots down the left column, then down the right one, but for the lowest two."""
    bit = (0x01, 0x02, 0x04, 0x40)[y % 4] if x % 2 == 0 else (0x08, 0x10, 0x20, 0x80)[y % 4]
    cells[y // 4][x // 2] |= bit


def mark(database):
    print(database.execute("SELECT max(_synced_at) FROM runs").fetchone()[0])


def moved(database, since):
    rows = []
    for name in TABLES:
        written, total = database.execute(
            f"SELECT coalesce(sum(_synced_at > ?), 0), count(*) FROM {name}", (since,)
        ).fetchone()
        rows.append((name, written, total))
    print("\nHow much of it the second sync wrote:")
    table(("table", "rows written", "rows in all"), rows)


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    commands = {"runs": runs, "plot": plot, "mark": mark, "moved": moved}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    database = sqlite3.connect(f"file:{sys.argv[2]}?mode=ro", uri=True)
    commands[sys.argv[1]](database, *sys.argv[3:])


if __name__ == "__main__":
    main()
