//! See `wandb_connector_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wandb_connector_fuzz::parquet::parquet_file(data));
