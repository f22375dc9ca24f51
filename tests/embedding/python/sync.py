"""Syncs a source into SQLite:  python sync.py wandb_connector.wasm configuration.json warehouse.db

Ctrl-C stops it; everything up to the last checkpoint is stored, and the next sync goes on from there.
"""

import json
import signal
import sys

from connector import Connector, ConnectorError, Interrupted
from progress import Progress
from warehouse import Warehouse


class Destination(Warehouse):
    """The warehouse, with logs and progress on standard error, and an end when Ctrl-C was pressed."""

    interrupted = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.far = Progress(sys.stderr)

    def __exit__(self, *reason):
        self.far.end()
        super().__exit__(*reason)

    def upsert(self, table, columns):
        if self.interrupted:
            raise Interrupted
        super().upsert(table, columns)

    def log(self, level, message):
        self.far.clear()
        print(f"{level.upper()}: {printable(message)}", file=sys.stderr)

    def progress(self, what, done, total):
        self.far.report(printable(what), done, total)

    def throttled(self, milliseconds):
        self.log("info", f"the source asks to wait for {milliseconds / 1000} s")


def printable(text):
    """Text from outside, without control characters for the terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def main(component, configuration, database):
    with open(configuration) as file:
        config = json.load(file)
    connector = Connector(component)
    try:
        with Destination(database, connector.schema(config)) as destination:
            # An exception must not cross WebAssembly, so the signal only leaves a note.
            signal.signal(signal.SIGINT, lambda *_: setattr(destination, "interrupted", True))
            summary = connector.sync(config, destination.state(), destination)
            destination.checkpoint([])  # Rows after the last checkpoint count once `sync` has returned.
    except ConnectorError as error:
        sys.exit(printable(error))
    print(json.dumps(summary))


if __name__ == "__main__":
    main(*sys.argv[1:])
