// Runs a source connector, a component of the contract `elt:connector`, transpiled to JavaScript by jco.
//
// What it reads goes to a *destination*, an object of yours with these methods. All are synchronous.
//
//     upsert(table, columns)      rows to insert, or to replace by primary key
//     delete(table, columns)      deletes rows whose leading primary-key columns have these values
//     checkpoint(patch)           a change of the state, [[key, value or undefined], …]: make it durable with the rows before it
//     log(level, message)
//     progress(what, done, total) `total` is undefined while it is not known
//     throttled(milliseconds)
//
// Columns are `{ name, values: { tag, val }, nulls }` as in the contract: integers and timestamps are a BigInt64Array, doubles a
// Float64Array, the keys of a dictionary and `nulls` a Uint32Array. `reader(column)` reads them all alike.
//
// To stop a sync, throw `new Interrupted()`; any other exception says that the destination failed, and the connector ends the
// sync with it.
import { Component } from './component.mjs';

/** Thrown by a destination: the sync should end now. */
export class Interrupted extends Error {}

/** What the connector returned as its error: `kind` is a case of the contract's `error`, `payload` its content. */
export class ConnectorError extends Error {
    constructor({ tag, val }) {
        super(val === undefined ? tag : `${tag}: ${typeof val === 'string' ? val : toJson(val)}`);
        this.kind = tag;
        this.payload = val;
    }
}

/** A component, compiled once. Every call runs in a fresh instance with memory of its own. */
export class Connector {
    static async load(file) {
        const connector = new Connector();
        connector.component = await Component.load(file);
        return connector;
    }

    /** The JSON Schema of the configuration. */
    async spec() {
        return JSON.parse((await this.#source()).spec());
    }

    /** Tries a configuration against the source. Returns a sentence for people. */
    async check(config) {
        return result(async () => (await this.#source()).check(JSON.stringify(config)));
    }

    /** The tables that a sync writes, each with its `name`, `columns` and `primaryKey`. */
    async schema(config) {
        return result(async () => (await this.#source()).schema(JSON.stringify(config)));
    }

    /** Brings a destination up to date. `state` is an object made of all patches so far. Returns the summary. */
    async sync(config, state, destination) {
        const source = await this.#source(destination);
        return result(() => source.sync(JSON.stringify(config), Object.entries(state)));
    }

    async #source(destination) {
        const { source } = await this.component.instantiate(contract(destination));
        return source;
    }
}

/** The contract's imports. Results are returned by value and by exception: an exception is the error case. */
function contract(destination) {
    const answer = (act) => {
        try {
            act();
        } catch (error) {
            throw error instanceof Interrupted ? { tag: 'interrupted' } : { tag: 'failed', val: String(error.message) };
        }
    };
    return {
        'elt:connector/destination': {
            upsert: (table, rows) => answer(() => destination.upsert(table, rows.columns)),
            delete: (table, keys) => answer(() => destination.delete(table, keys.columns)),
            checkpoint: (patch) => answer(() => destination.checkpoint(patch)),
        },
        'elt:connector/log': { write: (level, message) => destination.log(level, message) },
        'elt:connector/progress': {
            report: (what, done, total) => destination.progress(what, done, total),
            throttled: (milliseconds) => destination.throttled(milliseconds),
        },
    };
}

async function result(call) {
    try {
        return await call();
    } catch (error) {
        // jco throws the error case of a result: as it is, or (newer versions) as the `payload` of an exception.
        const failure = error?.payload ?? error;
        throw failure?.tag ? new ConnectorError(failure) : error;
    }
}

/** How many rows a column has, and a function that reads the value in one of them: null, or what the column's list holds. */
export function reader({ values: { tag, val }, nulls }) {
    const dictionary = tag === 'dictionary';
    const isNull = new Set(nulls);
    const at = dictionary ? (row) => val.values[val.keys[row]] : (row) => val[row];
    return {
        length: dictionary ? val.keys.length : val.length,
        at: isNull.size ? (row) => (isNull.has(row) ? null : at(row)) : at,
    };
}

/** JSON, with big integers as numbers. */
export function toJson(what) {
    return JSON.stringify(what, (_, value) => (typeof value === 'bigint' ? Number(value) : value));
}
