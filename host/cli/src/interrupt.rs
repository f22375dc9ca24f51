//! SIGINT (Ctrl-C) and SIGTERM: the first asks for an orderly end, the second ends at once. SIGHUP, for commands that handle it.

use std::sync::Arc;

use elt_host::Level;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::output::console::Console;

/// Returns a token that the first signal cancels. `notice` is what the user is told then.
pub(crate) fn watch(console: &Arc<Console>, notice: &'static str) -> std::io::Result<CancellationToken> {
    watch_and(console, notice, |_| {})
}

/// The same; `then` is called with the token after it was cancelled.
pub(crate) fn watch_and(
    console: &Arc<Console>,
    notice: impl Into<String>,
    then: impl FnOnce(&CancellationToken) + Send + 'static,
) -> std::io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let token = CancellationToken::new();
    let (console, cancel, notice) = (Arc::clone(console), token.clone(), notice.into());
    tokio::spawn(async move {
        signals.next().await;
        console.log(Level::Warning, notice);
        cancel.cancel();
        then(&cancel);
        signals.next().await;
        console.flush();
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(token)
}

/// Calls `then` at each SIGHUP from now on, which no longer ends the process.
pub(crate) fn on_hangup(then: impl Fn() + Send + 'static) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangups = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                then();
            }
        });
    }
    #[cfg(not(unix))]
    drop(then);
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        tokio::signal::ctrl_c().await.ok();
    }
}
