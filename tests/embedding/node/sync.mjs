// Syncs a source into SQLite:  node sync.mjs wandb_connector.wasm configuration.json warehouse.db
//
// If it is stopped, everything up to the last checkpoint is stored, and the next sync goes on from there.
import { readFileSync } from 'node:fs';
import { Connector, ConnectorError, toJson } from './connector.mjs';
import { Progress } from './progress.mjs';
import { Warehouse } from './warehouse.mjs';

/** The warehouse, with logs and progress on standard error. */
class Destination extends Warehouse {
    far = new Progress(process.stderr);

    log(level, message) {
        this.far.clear();
        console.error(`${level.toUpperCase()}: ${printable(message)}`);
    }

    progress(what, done, total) {
        this.far.report(printable(what), done, total);
    }

    throttled(milliseconds) {
        this.log('info', `the source asks to wait for ${Number(milliseconds) / 1000} s`);
    }

    close() {
        this.far.end();
        super.close();
    }
}

/** Text from outside, without control characters for the terminal. */
function printable(text) {
    return JSON.stringify(text).slice(1, -1).replace(/[\u007f-\u009f]/g, '?');
}

const [component, configuration, database] = process.argv.slice(2);
const config = JSON.parse(readFileSync(configuration));
const connector = await Connector.load(component);
let destination;
try {
    destination = new Destination(database, await connector.schema(config));
    const summary = await connector.sync(config, destination.state(), destination);
    destination.checkpoint([]); // Rows after the last checkpoint count once `sync` has returned.
    destination.close();
    destination = undefined;
    console.log(toJson(summary));
} catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    destination?.close();
    console.error(printable(error.message));
    process.exitCode = 1;
}
