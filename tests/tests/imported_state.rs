//! A state that somebody imported and that can't be meant, in the sync logic as it runs natively.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use wandb_connector::batch::Batch;
use wandb_connector::destination::{Destination as _, StatePatch};
use wandb_connector::error::Error;
use wandb_connector_tests::cli_driver::{configuration, serve};
use wandb_connector_tests::local_wandb::generate;
use wandb_connector_tests::native::{Memory, sync_into};

#[test]
fn a_watermark_that_is_no_time_is_refused_before_anything_is_asked_for() {
    let server = serve(generate::realistic(3, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for key in ["runs_hwm_utc", "import_hwm_utc"] {
        let memory = Memory::new();
        let patch: StatePatch = vec![(key.to_owned(), Some("last tuesday".to_owned()))];
        memory.checkpoint(patch).unwrap();
        let before = memory.stored();
        let refused = runtime.block_on(sync_into(&memory, &configuration(&server)));
        let Err(Error::Destination(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains(&format!("\"last tuesday\" for `{key}`, which is no time")), "{why}");
        assert_eq!((server.log().len(), memory.stored()), (0, before));
    }
}

#[test]
fn progress_is_told_when_it_has_changed_and_only_then() {
    let server = serve(generate::realistic(8, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let memory = Reports::default();
    runtime.block_on(memory.sync(&configuration(&server)));
    let told = memory.0.borrow();
    for what in ["runs", "runs synced", "runs unchanged", "runs quarantined"] {
        let of: Vec<_> = told.iter().filter(|(name, ..)| name == what).collect();
        assert!(of.windows(2).all(|pair| pair[0] != pair[1]), "{what}: {of:?}");
    }
    assert!(told.contains(&("runs".to_owned(), 8, Some(8))), "{told:?}");
}

/// Hears how far a sync is, and keeps nothing else.
#[derive(Default)]
struct Reports(std::cell::RefCell<Vec<(String, u64, Option<u64>)>>);

impl Reports {
    async fn sync(&self, config: &serde_json::Value) {
        let config = wandb_connector::config::Config::parse(&config.to_string()).unwrap();
        let exchange = wandb_connector_tests::native::HurriedExchange::default();
        exchange.drive(wandb_connector::sync::sync(&exchange, self, &config, Default::default())).await.unwrap();
    }
}

impl wandb_connector::destination::Destination for Reports {
    fn upsert(&self, _: &'static str, _: Batch) -> Result<(), Error> {
        Ok(())
    }

    fn delete(&self, _: &'static str, _: Batch) -> Result<(), Error> {
        Ok(())
    }

    fn checkpoint(&self, _: StatePatch) -> Result<(), Error> {
        Ok(())
    }

    fn log(&self, _: wandb_connector::destination::Level, _: &str) {}

    fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        self.0.borrow_mut().push((what.to_owned(), done, total));
    }

    fn throttled(&self, _: std::time::Duration) {}
}
