"""A source connector in Python: readings of sensors, from a server that answers `GET /readings?after=N` with a page of
`[{"id": N+1, "sensor": "…", "at": "2025-06-15T12:00:00Z", "celsius": 21.5, "extra": {…}}, …]`, oldest first, and `[]` at the end.

Built by `componentize-py`, which makes the modules of `wit_world` from the contract.
"""

import json
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import destination, log, outgoing_handler, progress
from wit_world.imports.elt_connector_types import (
    Batch,
    Column,
    ColumnSchema,
    ColumnValues_Doubles,
    ColumnValues_Jsons,
    ColumnValues_Texts,
    ColumnValues_Timestamps,
    ConfigurationProblem,
    DataType,
    Error_Authentication,
    Error_Configuration,
    Error_Destination,
    Error_Interrupted,
    Error_Upstream,
    Summary,
    TableSchema,
    UpstreamFailure,
)
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.wasi_http_types import Fields, OutgoingRequest, Scheme_Http, Scheme_Https

CONFIGURATION = {
    "title": "Sensors",
    "type": "object",
    "x-elt-items": {"singular": "reading", "plural": "readings"},
    "x-elt-state": {"watermark": "after"},
    "required": ["sensors_url"],
    "properties": {
        "sensors_url": {"type": "string", "format": "uri", "x-elt-origin": True, "title": "URL", "description": "Where the readings are."},
        "token": {
            "type": "string",
            "writeOnly": True,
            "x-elt-credential": {"origin": "sensors_url", "authorization": ["Token {secret}"]},
            "title": "Token",
            "description": "Sent in the authorization header.",
        },
        "print": {"type": "boolean", "title": "Print", "description": "Prints to standard output, which connectors do not have."},
    },
}
READINGS = TableSchema(
    name="readings",
    columns=[
        ColumnSchema("sensor", DataType.TEXT, False),
        ColumnSchema("taken_at", DataType.TIMESTAMP, False),
        ColumnSchema("celsius", DataType.DOUBLE, True),
        ColumnSchema("extra", DataType.JSON, True),
    ],
    primary_key=["sensor", "taken_at"],
)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Source(exports.Source):
    def spec(self):
        return json.dumps(CONFIGURATION)

    def check(self, config):
        return f"found {len(get(parse(config), 0))} readings"

    def schema(self, config):
        parse(config)
        return [READINGS]

    def sync(self, config, state):
        config, after = parse(config), int(dict(state).get("after", 0))
        if config.get("print"):
            print("reading", flush=True)
        synced, requests = 0, 1
        while page := get(config, after):
            after = page[-1]["id"]
            store(lambda: destination.upsert(READINGS.name, batch(page)))
            store(lambda: destination.checkpoint([("after", str(after))]))
            synced, requests = synced + len(page), requests + 1
            progress.report("readings", synced, None)
        log.write(log.Level.INFO, f"Synced {synced} readings")
        return Summary("reading", synced, synced, 0, 0, [], requests, 0)


def batch(page):
    """Rows as columns."""

    def column(name, kind, cells, filler):
        nulls = [row for row, cell in enumerate(cells) if cell is None]
        return Column(name, kind([filler if cell is None else cell for cell in cells]), nulls)

    micros = [(datetime.fromisoformat(reading["at"]) - EPOCH) // timedelta(microseconds=1) for reading in page]
    extras = [json.dumps(reading["extra"]) if "extra" in reading else None for reading in page]
    return Batch(
        [
            column("sensor", ColumnValues_Texts, [reading["sensor"] for reading in page], ""),
            column("taken_at", ColumnValues_Timestamps, micros, 0),
            column("celsius", ColumnValues_Doubles, [reading["celsius"] for reading in page], 0.0),
            column("extra", ColumnValues_Jsons, extras, ""),
        ]
    )


def store(act):
    """After an error of the destination the connector ends with one of its own."""
    try:
        act()
    except Err as error:
        interrupted = isinstance(error.value, destination.DestinationError_Interrupted)
        raise Err(Error_Interrupted() if interrupted else Error_Destination(error.value.value)) from error


def parse(config):
    config = json.loads(config)
    if not config.get("sensors_url"):
        raise Err(Error_Configuration([ConfigurationProblem("sensors_url", "is missing")]))
    return config


def get(config, after):
    """The page after a reading."""
    url = urlsplit(config["sensors_url"])
    token = config.get("token")
    headers = [("authorization", f"Token {token}".encode())] if token else []
    request = OutgoingRequest(Fields.from_list(headers))
    request.set_scheme(Scheme_Https() if url.scheme == "https" else Scheme_Http())
    request.set_authority(url.netloc)
    request.set_path_with_query(f"/readings?after={after}")
    future = outgoing_handler.handle(request, None)
    future.subscribe().block()
    match future.get():
        case Ok(Ok(answer)):
            pass
        case failure:
            raise Err(Error_Upstream(UpstreamFailure(None, f"reading readings: {failure}")))
    if answer.status() == 401:
        raise Err(Error_Authentication("the token is not accepted"))
    if answer.status() != 200:
        raise Err(Error_Upstream(UpstreamFailure(answer.status(), "reading readings")))
    return json.loads(read(answer.consume()))


def read(body):
    found = b""
    with body.stream() as stream:
        while True:
            try:
                found += stream.blocking_read(65536)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return found
                raise Err(Error_Upstream(UpstreamFailure(None, "the answer broke off"))) from error
