// Loads components into Node: jco transpiles them to JavaScript, preview2-shim provides WASI.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transpileBytes } from '@bytecodealliance/jco-transpile';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';

/** A component, compiled once. */
export class Component {
    /** Transpiles a component file. (`npx jco transpile` writes the same to a folder, for a build step.) */
    static async load(file) {
        const options = { name: 'component', instantiation: 'async', wasiShim: false };
        const { files } = await transpileBytes(await readFile(file), options);
        const component = new Component();
        component.module = await importText(files['component.js']);
        component.core = {};
        for (const [name, bytes] of Object.entries(files)) {
            if (name.endsWith('.wasm')) component.core[name] = await WebAssembly.compile(bytes);
        }
        return component;
    }

    /** A fresh instance with memory of its own: its exports. `imports` are those beside WASI. */
    instantiate(imports) {
        return this.module.instantiate((name) => this.core[name], { ...wasi(), ...imports });
    }
}

/** Imports a module that is not in a file yet. */
async function importText(text) {
    const folder = await mkdtemp(join(tmpdir(), 'component-'));
    try {
        await writeFile(join(folder, 'component.mjs'), text);
        return await import(pathToFileURL(join(folder, 'component.mjs')));
    } finally {
        await rm(folder, { recursive: true });
    }
}

/** WASI as the shim gives it, with two of its faults mended (seen in preview2-shim 0.22 to 0.26). */
function wasi() {
    const imports = new WASIShim().getImportObject();
    const types = imports['wasi:http/types'];
    const { handle } = imports['wasi:http/outgoing-handler'];
    return {
        ...imports,
        'wasi:http/types': {
            ...types,
            // Of a connection that breaks within a body it answers Node's error, which is no error code, and the component traps.
            httpErrorCode(error) {
                const code = types.httpErrorCode(error);
                return code?.tag ? code : { tag: 'internal-error', val: String(code) };
            },
        },
        'wasi:http/outgoing-handler': {
            // Its connect timeout runs until the answer begins, so that a slow answer would count as no connection.
            handle(request, options) {
                const firstByte = options?.firstByteTimeout();
                if (firstByte) options.setConnectTimeout(firstByte);
                return handle(request, options);
            },
        },
    };
}
