// Rows and state in SQLite, in one transaction for each checkpoint.
import { DatabaseSync } from 'node:sqlite';
import { reader } from './connector.mjs';

const SQL_TYPES = { boolean: 'INTEGER', integer: 'INTEGER', double: 'REAL', text: 'TEXT', json: 'TEXT', timestamp: 'TEXT' };

/** A database with the tables of a schema, and one for the state. What was not committed when it closes is rolled back. */
export class Warehouse {
    constructor(file, schema) {
        this.database = new DatabaseSync(file);
        this.database.exec('CREATE TABLE IF NOT EXISTS _state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID');
        for (const table of schema) {
            const columns = table.columns.map((column) => `"${column.name}" ${SQL_TYPES[column.dataType]}`);
            const key = table.primaryKey.map((name) => `"${name}"`);
            columns.push('_synced_at TEXT', `PRIMARY KEY (${key})`);
            this.database.exec(`CREATE TABLE IF NOT EXISTS "${table.name}" (${columns}) WITHOUT ROWID`);
        }
        this.database.exec('BEGIN');
    }

    close() {
        this.database.close();
    }

    /** The state so far. */
    state() {
        const rows = this.database.prepare('SELECT key, value FROM _state').all();
        return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
    }

    /** Inserts rows, or replaces those whose key exists. */
    upsert(table, columns) {
        const names = columns.map(({ name }) => `"${name}"`);
        const now = timeText(BigInt(Date.now()) * 1000n);
        this.#forEachRow(
            `INSERT OR REPLACE INTO "${table}" (${[...names, '_synced_at']}) VALUES (${names.map(() => '?')}, '${now}')`,
            columns,
        );
    }

    /** Deletes the rows whose leading key columns have these values. */
    delete(table, columns) {
        const keys = columns.map(({ name }) => `"${name}" = ?`);
        this.#forEachRow(`DELETE FROM "${table}" WHERE ${keys.join(' AND ')}`, columns);
    }

    /** Changes the state, and makes that and all rows before it durable together. */
    checkpoint(patch) {
        const set = this.database.prepare('INSERT OR REPLACE INTO _state VALUES (?, ?)');
        const remove = this.database.prepare('DELETE FROM _state WHERE key = ?');
        for (const [key, value] of patch) {
            if (value === undefined) remove.run(key);
            else set.run(key, value);
        }
        this.database.exec('COMMIT; BEGIN');
    }

    #forEachRow(sql, columns) {
        const statement = this.database.prepare(sql);
        const cells = columns.map(stored);
        for (let row = 0; row < cells[0].length; row += 1) {
            statement.run(...cells.map(({ at }) => at(row)));
        }
    }
}

/** A column as it is stored: timestamps as text, booleans as 0 and 1. */
function stored(column) {
    const { length, at } = reader(column);
    const convert = { timestamps: timeText, booleans: Number }[column.values.tag];
    if (!convert) return { length, at };
    return { length, at: (row) => (at(row) === null ? null : convert(at(row))) };
}

/** Microseconds since the epoch as `2025-06-15T15:06:40.000000Z`. */
function timeText(microseconds) {
    // A day is a whole number of microseconds before the epoch, too: round down, not towards zero.
    const fraction = ((microseconds % 1000000n) + 1000000n) % 1000000n;
    const seconds = (microseconds - fraction) / 1000000n;
    return new Date(Number(seconds) * 1000).toISOString().replace('.000Z', `.${String(fraction).padStart(6, '0')}Z`);
}
