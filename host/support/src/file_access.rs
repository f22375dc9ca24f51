//! Who may read a file that holds secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Whether users other than its owner may read or change the file. A file that is not there is read by nobody.
pub fn others_may_read(path: &Path) -> bool {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    metadata.is_some_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}
