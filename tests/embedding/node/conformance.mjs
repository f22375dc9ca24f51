// Runs the kit's component (tests/conformance) and prints what this host saw, as one JSON object:
//
//     node conformance.mjs conformance.wasm http://127.0.0.1:PORT warehouse.db ACT…
import { Connector, ConnectorError, reader, toJson } from './connector.mjs';
import { Warehouse } from './warehouse.mjs';

/** The warehouse, and a list of the calls that reached it. */
class Recorder extends Warehouse {
    calls = [];

    upsert(table, columns) {
        this.calls.push(['upsert', table, shown(columns)]);
        super.upsert(table, columns);
    }

    delete(table, columns) {
        this.calls.push(['delete', table, shown(columns)]);
        super.delete(table, columns);
    }

    checkpoint(patch) {
        this.calls.push(['checkpoint', patch]);
        super.checkpoint(patch);
    }

    log(level, message) {
        this.calls.push(['log', level, message]);
    }

    progress(what, done, total) {
        this.calls.push(['progress', what, done, total]);
    }

    throttled(milliseconds) {
        this.calls.push(['throttled', milliseconds]);
    }
}

/** Numbers as text, since JSON has neither NaN nor, everywhere, 64 bits. */
function shown(columns) {
    const cell = (value) => (['number', 'bigint'].includes(typeof value) ? String(value) : value);
    const cells = ({ length, at }) => Array.from({ length }, (_, row) => cell(at(row)));
    return Object.fromEntries(columns.map((column) => [column.name, cells(reader(column))]));
}

async function sync(connector, config, database, schema) {
    const destination = new Recorder(database, schema);
    const { act } = config;
    try {
        const summary = await connector.sync(config, destination.state(), destination);
        destination.checkpoint([]);
        return { act, calls: destination.calls, result: { ok: summary } };
    } catch (error) {
        if (!(error instanceof ConnectorError)) throw error;
        return { act, calls: destination.calls, result: { error: [error.kind, error.payload] } };
    } finally {
        destination.close();
    }
}

const [component, base_url, database, ...acts] = process.argv.slice(2);
const connector = await Connector.load(component);
const config = { base_url };
const schema = await connector.schema(config);
const syncs = [];
for (const act of acts) syncs.push(await sync(connector, { ...config, act }, database, schema));
console.log(toJson({ spec: await connector.spec(), check: await connector.check(config), schema, syncs }));
