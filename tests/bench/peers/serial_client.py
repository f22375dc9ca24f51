"""The peer of the `rest` rows: a serial client that does what the connector's specification says, and no more.

Usage: serial_client.py BASE_URL KEY ENTITY PROJECT PAGE_SIZE DATABASE
"""

import json
import sqlite3
import sys
from urllib.parse import quote

import requests

OWN = {"_step", "_timestamp", "_runtime", "_wandb"}


def pages(session, url):
    while url:
        answer = session.get(url)
        answer.raise_for_status()
        page = answer.json()
        yield page
        url = page.get("nextUrl")


def main(base, key, entity, project, page_size, database):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, name TEXT, state TEXT, config TEXT, summary TEXT)")
    connection.execute(
        "CREATE TABLE metrics (run_id TEXT, step INTEGER, metric_name TEXT, metric_value REAL, timestamp REAL,"
        " PRIMARY KEY (run_id, step, metric_name)) WITHOUT ROWID"
    )
    where = f"{quote(entity, safe='')}/{quote(project, safe='')}"
    for listing in pages(session, f"{base}/projects/{where}/runs?perPage={page_size}"):
        for run in listing["runs"]:
            connection.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                (run["id"], run.get("displayName"), run["state"], json.dumps(run.get("config")),
                 json.dumps(run.get("summaryMetrics"))),
            )
            url = f"{base}/runs/{where}/{quote(run['id'], safe='')}/history?perPage={page_size}"
            for page in pages(session, url):
                rows = [
                    (run["id"], row["_step"], name, float(value), row.get("_timestamp"))
                    for row in page["history"]
                    for name, value in row.items()
                    if name not in OWN and isinstance(value, (int, float))
                ]
                connection.executemany("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?)", rows)
            connection.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
