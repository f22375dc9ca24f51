//! An embedder's own place for rows and own place for the state, with the real connector.

use std::path::Path;

use elt_host::destination::state_store::JsonFile;
use elt_host::{
    CancellationToken, Change, Destination, DestinationError, Group, Outcome, Preparation, Rows, SplitState, State,
    StatePatch, StateStore, SyncRequest,
};
use rusqlite::Connection;
use wandb_connector_tests::local_wandb::Dialect;
use wandb_connector_tests::product::{Workspace, connector};

use crate::{ENTITY, PROJECT, rewind, server};

/// Rows in a database, whose own state is not used.
struct Database(Box<dyn Destination>);

impl Rows for Database {
    fn prepare(&mut self, preparation: Preparation) -> Result<(), DestinationError> {
        self.0.prepare(preparation).map(drop)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DestinationError> {
        self.0.apply(Group { changes, patch: StatePatch::new() })
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.0.commit()
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.0.finish()
    }
}

/// Its thread dies with a patch in its hands, after so many that it stored.
struct Mortal {
    file: JsonFile,
    patches_left: usize,
}

impl StateStore for Mortal {
    fn load(&mut self) -> Result<State, DestinationError> {
        self.file.load()
    }

    fn replace(&mut self, state: &State) -> Result<(), DestinationError> {
        self.file.replace(state)
    }

    fn patch(&mut self, patch: &StatePatch) -> Result<(), DestinationError> {
        let Some(left) = self.patches_left.checked_sub(1) else { panic!("dies between the rows and the state") };
        self.patches_left = left;
        self.file.patch(patch)
    }
}

async fn sync(workspace: &Workspace, state: &Path, patches_left: usize) -> Outcome {
    let file = JsonFile::open(state.to_owned()).expect("nobody else has it");
    let destination = SplitState::new(Database(workspace.destination()), Mortal { file, patches_left });
    let mut policy = workspace.policy.clone();
    // A commit for each checkpoint.
    policy.commit_after = std::time::Duration::ZERO;
    let spec = connector().spec().await.expect("a specification");
    let request = SyncRequest::new(spec, workspace.config.clone()).policy(policy);
    let (observer, cancel) = (workspace.recorder.clone(), CancellationToken::new());
    connector().sync(request, Box::new(destination), &workspace.client, observer, &cancel).await
}

fn known(state: &Path) -> Vec<String> {
    let state = JsonFile::open(state.to_owned()).expect("nobody else has it").load().expect("a state");
    state.keys().filter_map(|key| key.strip_prefix("runs/")).map(str::to_owned).collect()
}

async fn what_died_between_rows_and_state_is_made_whole(dialect: Dialect) {
    let server = server();
    // One run after the other, so that it is known which one is lost.
    let workspace = Workspace::new(&server, dialect, ENTITY, PROJECT).with("concurrency", 1);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let state = folder.path().join("state.json");
    let died = sync(&workspace, &state, 12).await;
    assert!(died.error.is_some(), "it died");

    let known = known(&state);
    let database = Connection::open(workspace.database()).expect("the database opens");
    let rows = "SELECT run_id, ifnull(max(step), 0) FROM runs LEFT JOIN metrics USING (run_id) GROUP BY run_id";
    let mut rows = database.prepare(rows).expect("SQL");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let stored: Vec<(String, i64)> = rows.collect::<Result<_, _>>().expect("rows");
    let lost: Vec<_> = stored.iter().filter(|(run, _)| !known.contains(run)).collect();
    assert!(!known.is_empty() && lost.len() == 1, "the state is one commit behind the rows: {lost:?} of {stored:?}");

    // What nobody remembers having stored is rewound.
    let (run, last) = lost[0];
    assert!(*last > 1, "there is something to rewind");
    server.mutate(&rewind(run, last / 2, &[])).expect("a run");
    let healed = sync(&workspace, &state, usize::MAX).await;
    assert!(healed.error.is_none(), "{:?}", healed.error);
    assert_eq!(healed.items.unchanged, known.len() as u64, "what the state knew was kept");
    assert_eq!(workspace.differences(&server), []);
    let again = sync(&workspace, &state, usize::MAX).await;
    assert_eq!((again.items.unchanged, again.items.synced), (healed.items.seen, 0), "{:?}", again.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sync_stored_before_it_could_store_its_state_is_made_whole_by_the_next_through_graphql() {
    what_died_between_rows_and_state_is_made_whole(Dialect::Graphql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sync_stored_before_it_could_store_its_state_is_made_whole_by_the_next_through_rest() {
    what_died_between_rows_and_state_is_made_whole(Dialect::Rest).await;
}
