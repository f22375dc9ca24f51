//! A local W&B server for tests.
