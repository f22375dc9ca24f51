"""Runs a source connector, a component of the contract `elt:connector`, with the `wasmtime` package.

What it reads goes to a *destination*, an object of yours with these methods:

    upsert(table: str, columns: dict[str, list])   rows to insert, or to replace by primary key
    delete(table: str, columns: dict[str, list])   deletes rows whose leading primary-key columns have these values
    checkpoint(patch: list[tuple[str, str | None]])   a change of the state: make it durable with the rows before it
    log(level: str, message: str)
    progress(what: str, done: int, total: int | None)
    throttled(milliseconds: int)

Columns are lists of Python values, None for null; timestamps are integers, microseconds since the epoch. To stop a sync, raise
`Interrupted`; any other exception says that the destination failed, and the connector ends the sync with it.
"""

import json

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Variant

CONTRACT = "elt:connector/{}@0.1.0".format


class Interrupted(Exception):
    """Raised by a destination: the sync should end now."""


class ConnectorError(Exception):
    """What the connector returned as its error: `kind` is a case of the contract's `error`, `payload` its content."""

    def __init__(self, kind, payload):
        super().__init__(f"{kind}: {plain(payload)}" if payload is not None else kind)
        self.kind, self.payload = kind, payload


class Connector:
    """A component, compiled once. Every call runs in a fresh instance with memory of its own."""

    def __init__(self, file):
        self.engine = Engine()
        self.component = Component.from_file(self.engine, file)

    def spec(self):
        """The JSON Schema of the configuration."""
        return json.loads(self._call(None, "spec"))

    def check(self, config):
        """Tries a configuration against the source. Returns a sentence for people."""
        return ok(self._call(None, "check", json.dumps(config)))

    def schema(self, config):
        """The tables that a sync writes, each with its `name`, `columns` and `primary-key`."""
        return plain(ok(self._call(None, "schema", json.dumps(config))))

    def sync(self, config, state, destination):
        """Brings a destination up to date. `state` is the dict of all patches so far. Returns the summary as a dict."""
        return plain(ok(self._call(destination, "sync", json.dumps(config), list(state.items()))))

    def _call(self, destination, function, *arguments):
        store = Store(self.engine)
        store.set_wasi(WasiConfig())  # No files, no environment, no arguments.
        store.set_wasi_http()
        linker = Linker(self.engine)
        linker.add_wasip2()
        linker.add_wasi_http()
        with linker.root() as root:
            for interface, functions in imports(destination).items():
                with root.add_instance(CONTRACT(interface)) as instance:
                    for name, implementation in functions.items():
                        instance.add_func(name, implementation)
        instance = linker.instantiate(store, self.component)
        source = instance.get_export_index(store, CONTRACT("source"))
        return instance.get_func(store, instance.get_export_index(store, function, source))(store, *arguments)


def imports(destination):
    """The contract's imports, by interface. The first argument of each is the store, which is of no use here."""
    return {
        "destination": {
            "upsert": lambda _, table, rows: answer(lambda: destination.upsert(table, columns(rows))),
            "delete": lambda _, table, keys: answer(lambda: destination.delete(table, columns(keys))),
            "checkpoint": lambda _, patch: answer(lambda: destination.checkpoint(patch)),
        },
        "log": {"write": lambda _, level, message: destination.log(level, message)},
        "progress": {
            "report": lambda _, what, done, total: destination.progress(what, done, total),
            "throttled": lambda _, milliseconds: destination.throttled(milliseconds),
        },
    }


def answer(act):
    """Does something with the destination. Returns a `result<_, destination-error>`: None is ok."""
    try:
        act()
    except Interrupted:
        return Variant("interrupted")
    except Exception as error:
        return Variant("failed", str(error))


def columns(batch):
    """A batch as one list of Python values for each column, by name."""
    return {column.name: values(column) for column in batch.columns}


def values(column):
    kind, found = column.values.tag, column.values.payload
    if kind == "dictionary":
        found = [found.values[key] for key in found.keys]
    for row in column.nulls:
        found[row] = None
    return found


def ok(result):
    """The content of a result; raises its error."""
    if isinstance(result, Variant):
        raise ConnectorError(result.tag, result.payload)
    return result


def plain(value):
    """Records as dicts, at any depth."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {name: plain(item) for name, item in vars(value).items()}
    return value
