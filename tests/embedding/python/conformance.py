"""Runs the kit's component (tests/conformance) and prints what this host saw, as one JSON object:

    python conformance.py conformance.wasm http://127.0.0.1:PORT warehouse.db ACT…
"""

import json
import sys

from connector import Connector, ConnectorError, plain
from warehouse import Warehouse


class Recorder(Warehouse):
    """The warehouse, and a list of the calls that reached it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.calls = []

    def upsert(self, table, columns):
        self.calls.append(["upsert", table, shown(columns)])
        super().upsert(table, columns)

    def delete(self, table, columns):
        self.calls.append(["delete", table, shown(columns)])
        super().delete(table, columns)

    def checkpoint(self, patch):
        self.calls.append(["checkpoint", patch])
        super().checkpoint(patch)

    def log(self, level, message):
        self.calls.append(["log", level, message])

    def progress(self, what, done, total):
        self.calls.append(["progress", what, done, total])

    def throttled(self, milliseconds):
        self.calls.append(["throttled", milliseconds])


def shown(columns):
    """Numbers as text, since JSON has neither NaN nor, everywhere, 64 bits."""
    cell = lambda value: str(value) if type(value) in (int, float) else value
    return {name: [cell(value) for value in values] for name, values in columns.items()}


def sync(connector, config, database, schema):
    with Recorder(database, schema) as destination:
        try:
            result = {"ok": connector.sync(config, destination.state(), destination)}
            destination.checkpoint([])
        except ConnectorError as error:
            result = {"error": [error.kind, plain(error.payload)]}
        return {"act": config["act"], "calls": destination.calls, "result": result}


def main(component, base_url, database, *acts):
    connector = Connector(component)
    config = {"base_url": base_url}
    schema = connector.schema(config)
    syncs = [sync(connector, {**config, "act": act}, database, schema) for act in acts]
    print(json.dumps({"spec": connector.spec(), "check": connector.check(config), "schema": schema, "syncs": syncs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
