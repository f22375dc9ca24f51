//! What the machine refuses: addresses (`ulimit -v`, or a processor with few), executable memory, files of some size (`ulimit -f`).
//! None of it is the component's fault, and people can do something about it once they know whose it is.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::Error;
use elt_support::units;

/// The limit on addresses of this process (`ulimit -v`), if it has one.
pub(crate) fn addresses() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// With fewer addresses than this some part of a sync fails where nothing can be said any more. A sync takes about half of it.
const LEAST_ADDRESSES: u64 = 640 << 20;

/// Whether there are as many addresses as are needed at least.
pub(crate) fn enough_addresses() -> Result<(), Error> {
    match addresses() {
        Some(limit) if limit < LEAST_ADDRESSES => Err(Error::Internal(format!(
            "WebAssembly can't be run on this machine: its addresses are limited to {} (`ulimit -v`), and {} are needed at least; raise that limit",
            units::bytes(limit),
            units::bytes(LEAST_ADDRESSES)
        ))),
        _ => Ok(()),
    }
}

/// An error that says whose the fault is, where `why` was the machine's.
pub(crate) fn refusal(why: &wasmtime::Error) -> Option<Error> {
    let found = why.chain().find_map(errno)?;
    Some(match found {
        Errno::NOMEM => Error::Internal(format!("this machine gives the component no memory: {}", memory(why))),
        Errno::ACCESS | Errno::PERM => Error::Internal(format!(
            "this machine forbids to make memory executable, which running WebAssembly needs ({found}): allow it to this program, where \
             systemd forbids it with `MemoryDenyWriteExecute=no`; it is no fault of the component"
        )),
        Errno::FBIG => file_size(),
        _ => return None,
    })
}

/// A file may not grow as far as a component needs it, in the cache or for its memory. Then no file of a destination will either.
fn file_size() -> Error {
    let limit = getrlimit(Resource::Fsize).current;
    let limit = limit.map(|bytes| format!(" of {}", units::bytes(bytes))).unwrap_or_default();
    Error::Destination(format!(
        "files may not grow beyond the limit{limit} on their size (`ulimit -f`), which is too small to keep a component, let alone a \
         database; raise it and sync again"
    ))
}

/// What to do where memory is refused.
pub(crate) fn memory(why: &wasmtime::Error) -> String {
    match addresses() {
        Some(limit) => format!(
            "its addresses are limited to {} (`ulimit -v`), and {why:#}; raise that limit, or run fewer syncs at once",
            units::bytes(limit)
        ),
        None => format!("{why:#}"),
    }
}

fn errno(why: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let of_io = || why.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).map(Errno::from_raw_os_error);
    why.downcast_ref::<Errno>().copied().or_else(of_io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn said(why: wasmtime::Error) -> Option<(String, ErrorKind)> {
        refusal(&why).map(|error| (error.to_string(), error.kind()))
    }

    #[test]
    fn what_the_machine_refuses_is_told_from_what_is_wrong_with_a_component() {
        let denied = said(wasmtime::Error::from(Errno::ACCESS).context("publishing"));
        assert!(denied.is_some_and(|(text, _)| text.contains("MemoryDenyWriteExecute")));
        let memory = said(wasmtime::Error::from(io::Error::from_raw_os_error(Errno::NOMEM.raw_os_error())));
        assert!(memory.is_some_and(|(text, _)| text.contains("gives the component no memory")));
        let file = said(wasmtime::Error::from(Errno::FBIG).context("a file of memory"));
        assert!(file.is_some_and(|(text, kind)| text.contains("ulimit -f") && kind == ErrorKind::Destination));
        assert_eq!(said(wasmtime::Error::msg("no component")), None);
        assert_eq!(said(wasmtime::Error::from(Errno::NOENT)), None);
    }
}
