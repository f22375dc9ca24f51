//! What the words of an error message mean, where nothing better says it.
//!
//! A message quotes names that people chose, and a project may be called `forbidden-planet`. So what is quoted, what stands in a path such as
//! `entity/project/run`, and the names that were asked for are blanked before any word is looked for, and a word counts only as a whole.

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// The key is not valid, or there is none.
    SignedOut,
    /// The key may not read this.
    Forbidden,
    /// The question itself is not accepted.
    BadQuestion,
    /// There is no such thing.
    Absent,
    /// It may be over the next time.
    Passing,
}

/// What each meaning is said with, the strongest first. A space stands between two words that follow each other.
const PHRASES: [(Meaning, &[&str]); 5] = [
    // What speaks of rates also speaks of keys and permissions.
    (Meaning::Passing, &["rate limit", "rate limited", "too many requests"]),
    (
        Meaning::SignedOut,
        &[
            "api key",
            "api_key",
            "apikey",
            "unauthorized",
            "unauthenticated",
            "authenticate",
            "authenticated",
            "authentication",
            "not logged in",
            "not signed in",
            "invalid token",
        ],
    ),
    (
        Meaning::Forbidden,
        &[
            "permission",
            "permissions",
            "permission_denied",
            "permissiondenied",
            "forbidden",
            "access denied",
            "not authorized",
            "not allowed",
        ],
    ),
    (
        Meaning::BadQuestion,
        &[
            "cannot query field",
            "unknown argument",
            "unknown type",
            "unknown field",
            "syntax error",
            "variable",
            "validation",
        ],
    ),
    (Meaning::Absent, &["not found", "not_found", "notfound", "could not find", "does not exist"]),
];

/// After these a name follows.
const BEFORE_NAMES: [&str; 11] =
    ["run", "project", "entity", "team", "user", "for", "of", "in", "from", "named", "called"];

/// What stands beside a name and is no part of it.
const DELIMITERS: [char; 8] = ['/', '"', '\'', '`', '“', '”', '‘', '’'];

/// What was taken out of a message: no word, so that its neighbours do not become neighbours of each other.
const BLANK: &str = "\u{0}";

/// What a message means. `names` are those that were asked for.
pub(super) fn meaning(message: &str, names: &[&str]) -> Meaning {
    let names: Vec<String> = names.iter().filter(|name| !name.is_empty()).map(|name| name.to_lowercase()).collect();
    let mut text = message.to_lowercase();
    for name in &names {
        text = without_delimited(&text, name);
    }
    let text = without_quoted(&text);
    let mut words: Vec<&str> = text.split_whitespace().flat_map(words_of).collect();
    for name in &names {
        blank_bare(&mut words, name);
    }
    // A name may be a word like any other: `run not found` with a run called `not`. Such a word counts within a phrase of several words,
    // and by itself unless it stands where a name is to be expected.
    let is_name = |word: &str| names.iter().any(|name| name.trim_matches(['-', '.']) == word);
    let in_phrases: Vec<&str> =
        words.iter().map(|word| if is_name(word) && !is_telling(word) { BLANK } else { word }).collect();
    let before_name = |word: &str| word == BLANK || is_name(word) || BEFORE_NAMES.contains(&word);
    let alone: Vec<&str> = (0..words.len())
        .map(|at| match in_phrases[at] {
            word if is_name(word) && at > 0 && before_name(words[at - 1]) => BLANK,
            word => word,
        })
        .collect();
    let says = |phrase: &&str| {
        let parts: Vec<&str> = phrase.split(' ').collect();
        let words = if parts.len() == 1 { &alone } else { &in_phrases };
        words.windows(parts.len()).any(|window| window == parts)
    };
    let found = PHRASES.iter().find(|(_, phrases)| phrases.iter().any(says));
    found.map_or(Meaning::Passing, |(meaning, _)| *meaning)
}

/// Blanks a name of several words, such as `permission denied`, where a name is to be expected.
fn blank_bare(words: &mut [&str], name: &str) {
    let parts: Vec<&str> = name.split_whitespace().flat_map(words_of).collect();
    if parts.len() < 2 {
        return;
    }
    for at in 1..words.len() {
        let expected = words[at - 1] == BLANK || BEFORE_NAMES.contains(&words[at - 1]);
        if expected && words[at..].starts_with(&parts) {
            words[at..at + parts.len()].fill(BLANK);
        }
    }
}

fn is_telling(word: &str) -> bool {
    PHRASES.iter().any(|(_, phrases)| phrases.iter().any(|phrase| phrase.split(' ').any(|part| part == word)))
}

/// The words of a piece of text between two spaces. What holds a slash is a path, and has none.
fn words_of(piece: &str) -> impl Iterator<Item = &str> {
    let piece = if piece.contains('/') { BLANK } else { piece };
    let is_part = |character: char| character.is_alphanumeric() || "-_.\u{0}".contains(character);
    piece
        .split(move |character| !is_part(character))
        .map(|word| word.trim_matches(['-', '.']))
        .filter(|word| !word.is_empty())
}

/// The text with every `name` blanked that has a quotation mark or a slash beside it.
fn without_delimited(text: &str, name: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        out.push_str(before);
        let before = out.chars().next_back();
        let is_delimited = [before, after.chars().next()].into_iter().flatten().any(|it| DELIMITERS.contains(&it));
        out.push_str(if is_delimited { BLANK } else { name });
        rest = after;
    }
    out + rest
}

/// The text without what stands between quotation marks. An apostrophe inside a word is none.
fn without_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.chars().next() {
        let after = &rest[open.len_utf8()..];
        let close = match open {
            '"' | '`' => open,
            '\'' if !out.ends_with(char::is_alphanumeric) => open,
            '“' => '”',
            '‘' => '’',
            _ => '\0',
        };
        match end_of_quoted(after, close).filter(|_| close != '\0') {
            Some(end) => {
                out.push_str(BLANK);
                rest = &after[end..];
            }
            None => {
                out.push(open);
                rest = after;
            }
        }
    }
    out
}

/// Where what is quoted has ended, its closing mark included. A backslash takes the mark after it for a part of the text.
fn end_of_quoted(text: &str, close: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character != close => {}
            '\'' if text[end..].starts_with(char::is_alphanumeric) => {}
            _ => return Some(end),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["acme", "forbidden-planet", "a1b2c3"];

    #[test]
    fn messages_mean_what_they_say() {
        for (message, expected) in [
            ("user is not logged in", Meaning::SignedOut),
            ("Invalid API key", Meaning::SignedOut),
            ("rpc error: code = Unauthenticated desc = bucket", Meaning::SignedOut),
            ("permission denied", Meaning::Forbidden),
            ("rpc error: code = PermissionDenied", Meaning::Forbidden),
            ("Cannot query field 'x' on type 'Run'.", Meaning::BadQuestion),
            ("Variable '$n' of type '[String]' used in position expecting type '[String!]'.", Meaning::BadQuestion),
            ("run not found", Meaning::Absent),
            ("run not found for history loading: acme/forbidden-planet/a1b2c3", Meaning::Absent),
            ("project forbidden-planet does not exist.", Meaning::Absent),
            ("internal server error", Meaning::Passing),
            ("context deadline exceeded", Meaning::Passing),
            ("rate limit exceeded for this API key", Meaning::Passing),
            ("the run can't be read, it's the storage", Meaning::Passing),
            ("", Meaning::Passing),
        ] {
            assert_eq!(meaning(message, &NAMES), expected, "{message}");
        }
    }

    #[test]
    fn words_inside_names_mean_nothing() {
        for message in [
            "internal error in forbidden-planet",
            "internal error in project forbidden",
            "internal error (acme/not found/permission)",
            "timeout while reading run 'permission denied'",
            r#"timeout while reading "api \"key\" invalid token""#,
            "timeout while reading `variable`",
            "timeout for run called unauthorized-2.access_denied",
            "could get the run not-found",
        ] {
            assert_eq!(meaning(message, &["acme", "forbidden", "x"]), Meaning::Passing, "{message}");
        }
        for project in ["permission denied", "api key", "Not Found"] {
            let means = |message: String| meaning(&message, &["acme", project, ""]);
            assert_eq!(means(format!("internal error while listing project {project}")), Meaning::Passing, "{project}");
            assert_eq!(means(format!("permission denied for project {project}")), Meaning::Forbidden, "{project}");
        }
    }

    /// Names as people choose them, and names that are made of the words that are looked for.
    fn name() -> impl Strategy<Value = String> {
        let words: Vec<&str> =
            PHRASES.iter().flat_map(|(_, phrases)| phrases.iter().flat_map(|phrase| phrase.split(' '))).collect();
        let word = proptest::sample::select(words);
        let joined = proptest::collection::vec(word.clone(), 2..4);
        prop_oneof![
            "[A-Za-z0-9_.-]{1,20}",
            word.prop_map(str::to_owned),
            (joined, prop_oneof![Just("-"), Just("_"), Just(".")]).prop_map(|(words, by)| words.join(by)),
        ]
    }

    /// Names with spaces, quotation marks and anything else, which W&B does not send bare.
    fn odd_name() -> impl Strategy<Value = String> {
        let phrases: Vec<&str> = PHRASES.iter().flat_map(|(_, phrases)| phrases.iter().copied()).collect();
        prop_oneof![name(), proptest::sample::select(phrases).prop_map(str::to_owned), r#"[ -.0-~é🦊]{1,12}"#]
    }

    proptest! {
        #[test]
        fn no_name_makes_a_message_mean_anything(entity in odd_name(), project in odd_name(), run in odd_name(), bare in name()) {
            for message in [
                format!("internal error: {entity}/{project}/{run}"),
                format!("timeout while reading \"{run}\" of '{project}'"),
                format!("upstream broke (https://host/{entity}/{project})"),
            ] {
                prop_assert_eq!(meaning(&message, &[&entity, &project, &run]), Meaning::Passing, "{}", message);
            }
            for message in [
                format!("internal error in run {bare}"),
                format!("the history for {bare} broke"),
                format!("project {bare}: deadline exceeded"),
            ] {
                prop_assert_eq!(meaning(&message, &[&entity, &project, &bare]), Meaning::Passing, "{}", message);
            }
        }

        #[test]
        fn no_name_hides_what_a_message_means(entity in name(), project in name(), run in name()) {
            for (message, expected) in [
                ("user is not logged in".to_owned(), Meaning::SignedOut),
                ("permission denied".to_owned(), Meaning::Forbidden),
                ("Cannot query field \"x\" on type \"Run\"".to_owned(), Meaning::BadQuestion),
                (format!("run not found for history loading: {entity}/{project}/{run}"), Meaning::Absent),
                (format!("run {run} not found"), Meaning::Absent),
                (format!("permission denied: {entity}/{project}"), Meaning::Forbidden),
                (format!("project \"{project}\" does not exist"), Meaning::Absent),
            ] {
                prop_assert_eq!(meaning(&message, &[&entity, &project, &run]), expected, "{}", message);
            }
        }

        #[test]
        fn any_message_is_survived(message in ".{0,60}", name in ".{0,10}") {
            meaning(&message, &[&name]);
        }
    }
}
