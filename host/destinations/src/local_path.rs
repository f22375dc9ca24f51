//! Paths of this machine as places of destinations.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::url_text::UrlText;

/// The path that a URL of the form `KIND:PATH` names. `example` is such a URL.
///
/// # Errors
/// It names none, or something of another form.
pub fn parse(url: &UrlText<'_>, example: &str) -> Result<PathBuf, String> {
    let (kind, place) = (url.scheme(), url.place());
    if place.starts_with("//") {
        let path = url.shown().split_once("://").map_or("", |(_, path)| path.trim_start_matches('/'));
        return Err(format!(
            "a path follows `{kind}:` directly. Write `{kind}:{path}` for one in the current folder, `{kind}:/{path}` for an absolute \
             one."
        ));
    }
    if place.is_empty() || place.contains('\0') || place == ":memory:" {
        return Err(format!("it names no path. Write for example `{example}`."));
    }
    if let Some((scheme, _)) = place.split_once("://") {
        return Err(format!("`{scheme}://` is not supported, only folders of this machine."));
    }
    Ok(PathBuf::from(place))
}

/// `KIND:PATH`.
pub fn url(kind: &str, path: &Path) -> OsString {
    let mut url = OsString::from(kind);
    url.push(":");
    url.push(path);
    url
}

/// [`canonical`], with the path in what is said when it can't be told.
///
/// # Errors
/// The same, as a sentence.
pub fn resolved(folder: &Path, path: &Path) -> Result<PathBuf, String> {
    canonical(folder, path).map_err(|why| format!("{} can't be used: {why}", path.display()))
}

/// The path with links followed and without `.` and `..`, as far as it exists; relative ones begin in `folder`.
///
/// # Errors
/// The system's; or it leads through a link to nothing, or up from what does not exist.
pub fn canonical(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let whole = folder.join(path);
    let mut missing = Vec::new();
    let mut existing = whole.as_path();
    let found = loop {
        match existing.canonicalize() {
            Ok(found) => break found,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if existing.is_symlink() => {
                return Err(io::Error::other("it is a link to something that does not exist"));
            }
            Err(error) => {
                let Some(Component::Normal(name)) = existing.components().next_back() else { return Err(error) };
                missing.push(name.to_owned());
                existing = existing.parent().ok_or(error)?;
            }
        }
    };
    Ok(missing.into_iter().rev().fold(found, |path, name| path.join(name)))
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert!(canonical(folder.path(), Path::new("link")).is_err());
        assert!(canonical(folder.path(), Path::new("missing/../../x")).is_err(), "a way up from what does not exist");
    }
}
