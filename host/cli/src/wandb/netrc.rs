//! `~/.netrc`, where `wandb login` stores keys. Read as Python's `netrc` module does, which the `wandb` package uses: an entry's
//! machine is compared with host and port of the base URL, its password is the key, its login means nothing.

use std::iter::Peekable;
use std::str::Chars;

/// A file that can't be understood. Says only where, since what stands there may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetrcError {
    /// Counted from 1.
    pub line: usize,
}

/// The password for the first of `machines` that has an entry; else that of `default`. Of two entries for one
/// machine the later counts. An entry without a password is as good as none.
pub fn password(text: &str, machines: &[&str]) -> Result<Option<String>, NetrcError> {
    let entries = entries(text)?;
    let find = |machine: Option<&str>| entries.iter().rev().find(|entry| entry.machine.as_deref() == machine);
    let named = machines.iter().find_map(|machine| find(Some(machine)));
    Ok(named.or_else(|| find(None)).map(|entry| entry.password.clone()).filter(|password| !password.is_empty()))
}

/// One entry; `default` has no machine.
struct Entry {
    machine: Option<String>,
    password: String,
}

fn entries(text: &str) -> Result<Vec<Entry>, NetrcError> {
    let mut lexer = Lexer { rest: text.chars().peekable(), line: 1 };
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(Token { text: keyword, line, quoted }) = lexer.token() {
        if keyword.starts_with('#') && !quoted {
            lexer.skip_line();
            continue;
        }
        let fail = Err(NetrcError { line });
        match keyword.as_str() {
            "default" => entries.push(Entry { machine: None, password: String::new() }),
            "machine" => match lexer.token() {
                Some(name) => entries.push(Entry { machine: Some(name.text), password: String::new() }),
                None => return fail,
            },
            "macdef" => {
                lexer.token();
                lexer.skip_macro();
            }
            "login" | "user" | "account" | "password" => {
                let value = lexer.token().map(|token| token.text).unwrap_or_default();
                match entries.last_mut() {
                    Some(entry) if keyword == "password" => entry.password = value,
                    Some(_) => {}
                    None => return fail,
                }
            }
            _ => return fail,
        }
    }
    Ok(entries)
}

struct Token {
    text: String,
    line: usize,
    quoted: bool,
}

/// Words separated by white space; in double quotes they may hold white space; a backslash takes the next character
/// as it is.
struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn token(&mut self) -> Option<Token> {
        while self.rest.peek().is_some_and(|c| is_space(*c)) {
            self.next();
        }
        let quoted = *self.rest.peek()? == '"';
        let mut token = Token { text: String::new(), line: self.line, quoted };
        if quoted {
            self.next();
        }
        while let Some(&character) = self.rest.peek() {
            if !quoted && is_space(character) {
                break;
            }
            self.next();
            match character {
                '"' if quoted => break,
                '\\' => token.text.extend(self.next()),
                _ => token.text.push(character),
            }
        }
        Some(token)
    }

    /// To the end of this line; returns whether anything but white space was on it.
    fn skip_line(&mut self) -> bool {
        let mut blank = true;
        while let Some(character) = self.next() {
            if character == '\n' {
                break;
            }
            blank &= is_space(character);
        }
        !blank
    }

    /// A macro ends with an empty line, or with the file.
    fn skip_macro(&mut self) {
        self.skip_line();
        while self.rest.peek().is_some() && self.skip_line() {}
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords() {
        let cases = [
            ("as `wandb login` writes it", "machine api.wandb.ai\n  login user\n  password KEY\n", Some("KEY")),
            ("on one line", "machine api.wandb.ai login user password KEY", Some("KEY")),
            ("password first", "machine api.wandb.ai password KEY login user", Some("KEY")),
            ("quoted", "machine \"api.wandb.ai\" login \"a b\" password \"K \\\"E\\\\Y\"", Some("K \"E\\Y")),
            ("escaped", "machine api.wandb.ai password K\\ EY", Some("K EY")),
            (
                "others around it",
                "machine a password A\nmachine api.wandb.ai password KEY\nmachine b password B",
                Some("KEY"),
            ),
            (
                "comments",
                "# machine api.wandb.ai password OLD\nmachine api.wandb.ai # mine\n#\n password KEY # new\n",
                Some("KEY"),
            ),
            ("a password like a comment", "machine api.wandb.ai password #KEY", Some("#KEY")),
            ("carriage returns", "machine api.wandb.ai\r\n\tlogin user\r\n\tpassword KEY\r\n", Some("KEY")),
            ("a macro", "macdef init\ncd /pub\npassword X\n\nmachine api.wandb.ai password KEY", Some("KEY")),
            ("the later of two", "machine api.wandb.ai password OLD machine api.wandb.ai password KEY", Some("KEY")),
            ("default", "machine other password O\ndefault login user password KEY", Some("KEY")),
            ("default after its own", "machine api.wandb.ai password KEY\ndefault password D", Some("KEY")),
            ("the second name", "machine api.forge.coreweave.com password KEY", Some("KEY")),
            ("another machine", "machine example.com password KEY", None),
            ("part of a name", "machine api.wandb.ai.evil.example password KEY", None),
            ("no password", "machine api.wandb.ai login user", None),
            ("an empty file", "", None),
        ];
        for (name, text, expected) in cases {
            let found = password(text, &["api.wandb.ai", "api.forge.coreweave.com"]);
            assert_eq!(found, Ok(expected.map(String::from)), "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_by_its_line_only() {
        for (text, line) in [("machine a\npasswort KEY", 2), ("password KEY", 1), ("\n\nmachine", 3), ("KEY", 1)] {
            assert_eq!(password(text, &["a"]), Err(NetrcError { line }), "{text:?}");
        }
    }
}
