//! A limit on the size of files (`ulimit -f`). The system ends a process that writes beyond it with SIGXFSZ, without a message, unless that
//! signal is handled; then the write fails, and is reported like a full disk.

/// From here on such a write fails. Must be called in the runtime.
#[cfg(unix)]
pub(crate) fn make_an_error() {
    use rustix::process::Signal;
    use tokio::signal::unix::{SignalKind, signal};
    // A handler stays when its receiver goes. Where it can't be had, all is as it would be without.
    let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
}

/// Elsewhere there is no such signal.
#[cfg(not(unix))]
pub(crate) fn make_an_error() {}
