"""Rows and state in SQLite, in one transaction for each checkpoint."""

import sqlite3
from datetime import datetime, timedelta

SQL_TYPES = {"boolean": "INTEGER", "integer": "INTEGER", "double": "REAL", "text": "TEXT", "json": "TEXT", "timestamp": "TEXT"}
EPOCH = datetime(1970, 1, 1)


class Warehouse:
    """A database with the tables of a schema and one for the state. `with` it: what was not committed is rolled back."""

    def __init__(self, file, schema):
        # The transaction begins with the first change, and ends with the checkpoint.
        self.database = sqlite3.connect(file)
        self.tables = {table["name"]: table for table in schema}
        self.database.execute("CREATE TABLE IF NOT EXISTS _state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        for table in schema:
            lines = [f'"{column["name"]}" {SQL_TYPES[column["data-type"]]}' for column in table["columns"]]
            key = ", ".join(f'"{name}"' for name in table["primary-key"])
            lines += ["_synced_at TEXT", f"PRIMARY KEY ({key})"]
            self.database.execute(f'CREATE TABLE IF NOT EXISTS "{table["name"]}" ({", ".join(lines)}) WITHOUT ROWID')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.database.close()

    def state(self):
        """The state so far."""
        return dict(self.database.execute("SELECT key, value FROM _state"))

    def upsert(self, table, columns):
        """Inserts rows, or replaces those whose key exists."""
        columns = self._stored(table, columns)
        names = ", ".join(f'"{name}"' for name in columns)
        places = ", ".join("?" for _ in columns)
        now = time_text(round(datetime.now().timestamp() * 1e6))
        sql = f'INSERT OR REPLACE INTO "{table}" ({names}, _synced_at) VALUES ({places}, \'{now}\')'
        self.database.executemany(sql, zip(*columns.values()))

    def delete(self, table, columns):
        """Deletes the rows whose leading key columns have these values."""
        columns = self._stored(table, columns)
        keys = " AND ".join(f'"{name}" = ?' for name in columns)
        self.database.executemany(f'DELETE FROM "{table}" WHERE {keys}', zip(*columns.values()))

    def checkpoint(self, patch):
        """Changes the state, and makes that and all rows before it durable together."""
        for key, value in patch:
            if value is None:
                self.database.execute("DELETE FROM _state WHERE key = ?", [key])
            else:
                self.database.execute("INSERT OR REPLACE INTO _state VALUES (?, ?)", [key, value])
        self.database.commit()

    def _stored(self, table, columns):
        """Columns as they are stored: timestamps as text."""
        types = {column["name"]: column["data-type"] for column in self.tables[table]["columns"]}
        return {
            name: [time_text(at) for at in values] if types[name] == "timestamp" else values
            for name, values in columns.items()
        }


def time_text(microseconds):
    """`2025-06-15T15:06:40.000000Z`."""
    if microseconds is None:
        return None
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"
