//! The secret that opens the status page and its API. It is given by reference, never in an argument that other users of the machine
//! could read, and is kept as a digest.

use std::fmt;
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use elt_support::text;

/// The shortest token: a random one of this length can't be guessed over a network.
const SHORTEST: usize = 16;
/// The longest.
const LONGEST: usize = 512;

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// An environment variable.
    Variable(String),
    /// A file, whose line break at the end does not count.
    File(PathBuf),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable `{name}`"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// Why a token can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is no token in {source_of}: {why}")]
    Missing {
        /// Where it should be.
        source_of: TokenSource,
        /// What the system says.
        why: io::Error,
    },
    /// It is none.
    #[error(
        "the token in {0} can't be used: it has to be {SHORTEST} to {LONGEST} characters from ! to ~, such as from \
         `openssl rand -hex 32`"
    )]
    Unfit(TokenSource),
}

/// The secret.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    /// Not even the digest is for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Looks a token up.
    ///
    /// # Errors
    /// There is none, or it is too short, too long, or can't be sent in a header.
    pub fn read(source: &TokenSource) -> Result<Self, TokenError> {
        let text = match source {
            TokenSource::Variable(name) => std::env::var(name).map_err(io::Error::other),
            TokenSource::File(path) => std::fs::read(path).and_then(|bytes| {
                String::from_utf8(text::in_utf8(bytes))
                    .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.utf8_error()))
            }),
        };
        let text = text.map_err(|why| TokenError::Missing { source_of: source.clone(), why })?;
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        Self::new(text).ok_or_else(|| TokenError::Unfit(source.clone()))
    }

    /// `text` as a token, if it is fit for one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (SHORTEST..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(digest(text.as_bytes())))
    }

    /// Whether `given` is the token. Takes the same time wherever they differ.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        equal(&self.0, &digest(given))
    }
}

/// What is kept of a secret.
pub(super) fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Whether two digests are the same. Takes the same time wherever they differ.
pub(super) fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_text_of_a_file_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let source = TokenSource::File(folder.path().join("token"));
        let error = Token::read(&source).unwrap_err().to_string();
        assert!(error.starts_with("there is no token in the file "), "{error}");
        for text in ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\n"] {
            std::fs::write(folder.path().join("token"), text).unwrap();
            let token = Token::read(&source).unwrap();
            assert!(token.is(b"0123456789abcdef"));
            assert!(!token.is(b"0123456789abcdeg") && !token.is(b"") && !token.is(b"0123456789abcdef\n"));
            assert_eq!(format!("{token:?}"), "Token");
        }
    }

    #[test]
    fn what_can_be_guessed_or_not_be_sent_is_no_token() {
        for bad in ["", "short", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeä", "0123456789abcdef\n\n"] {
            assert!(Token::new(bad).is_none(), "{bad:?}");
        }
        assert!(Token::new(&"x".repeat(513)).is_none());
        let error = Token::read(&TokenSource::Variable("NO_SUCH_TOKEN_VARIABLE".into())).unwrap_err().to_string();
        assert!(error.contains("the environment variable `NO_SUCH_TOKEN_VARIABLE`"), "{error}");
    }
}
