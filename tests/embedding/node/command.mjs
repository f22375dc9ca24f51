// Runs a command component, as `wasmtime run -S http` does:  node command.mjs wandb-connector-cli.wasm < state.jsonl > rows.jsonl
import { Component } from './component.mjs';

const component = await Component.load(process.argv[2]);
const { run } = await component.instantiate({});
try {
    run.run();
} catch {
    process.exitCode = 1; // Why is on standard error.
}
