//! A limit on the size of files (`ulimit -f`). Unless somebody listens, the system ends a process that writes beyond it with
//! SIGXFSZ, and nobody is told why; with a listener the write fails, and is reported like a full disk.

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
