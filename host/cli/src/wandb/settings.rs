//! The settings files of the `wandb` tools, for the address of the server: `wandb login --host` writes it to
//! `~/.config/wandb/settings`, `wandb init` to `wandb/settings` in the current folder, which goes before the other. Read as the
//! `wandb` package 0.31 does (`sdk/lib/settings_file.py`), by the rules of Python's `configparser`.

use std::path::PathBuf;

use elt_support::text;

use crate::wandb::surroundings::Surroundings;

/// A base URL, and the file it is from.
pub(crate) struct Found {
    pub(crate) base_url: String,
    pub(crate) file: PathBuf,
}

/// Looks for a base URL. A file that can't be read is a warning, as it is for the `wandb` tools.
pub(crate) fn base_url(surroundings: &Surroundings<'_>, warnings: &mut Vec<String>) -> Option<Found> {
    files(surroundings).into_iter().find_map(|file| {
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(why) => {
                // Also where a folder of that name holds something else.
                if !matches!(why.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) {
                    warnings.push(format!("{} can't be read: {why}", file.display()));
                }
                return None;
            }
        };
        let base_url = value(&String::from_utf8_lossy(&text::in_utf8(bytes)), "base_url")?;
        Some(Found { base_url, file })
    })
}

/// The first that names a server counts.
fn files(surroundings: &Surroundings<'_>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(folder) = &surroundings.folder {
        let hidden = folder.join(".wandb");
        files.push(if hidden.exists() { hidden } else { folder.join("wandb") }.join("settings"));
    }
    let named = (surroundings.variable)("WANDB_CONFIG_DIR").filter(|path| !path.is_empty());
    let global = match named {
        Some(named) => surroundings.expand(&named),
        None => surroundings.home.as_ref().map(|home| home.join(".config/wandb")),
    };
    files.extend(global.map(|folder| folder.join("settings")));
    files
}

/// The value of a key in the section `default`, for which `DEFAULT` holds what it lacks. Names are compared in any case.
fn value(text: &str, key: &str) -> Option<String> {
    let (mut section, mut own, mut fallback, mut exists) = ("", None, None, false);
    for line in text.lines() {
        let trimmed = line.trim();
        // An indented line continues a value, and those of URLs are not continued.
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
            section = name;
            exists |= section == "default";
            continue;
        }
        let Some((name, value)) = trimmed.split_once(['=', ':']) else { continue };
        if name.trim().eq_ignore_ascii_case(key) {
            let value = Some(value.trim().replace("%%", "%"));
            match section {
                "default" => own = value,
                "DEFAULT" => fallback = value,
                _ => {}
            }
        }
    }
    own.or(fallback).filter(|value| exists && !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_as_configparser_finds_it() {
        for (text, expected) in [
            ("[default]\nbase_url = https://w.example\n", Some("https://w.example")),
            (
                "# c\n\n[default]\r\nmode = online\r\nBASE_URL: https://w.example:8080/a\r\n",
                Some("https://w.example:8080/a"),
            ),
            ("[default]\nbase_url=a\nbase_url = b%%20\n", Some("b%20")),
            ("[DEFAULT]\nbase_url = d\n[default]\nmode = x", Some("d")),
            ("[DEFAULT]\nbase_url = d\n[default]\nbase_url = o", Some("o")),
            ("[DEFAULT]\nbase_url = d\n", None),
            ("[other]\nbase_url = a", None),
            ("base_url = a", None),
            ("[default]\n;base_url = a\nbase_url =\n", None),
            ("", None),
        ] {
            assert_eq!(value(text, "base_url").as_deref(), expected, "{text:?}");
        }
    }
}
