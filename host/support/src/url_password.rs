//! URLs fit to be shown: a database's often holds a password, and what is printed ends up in logs.

/// Names whose values are secrets, in queries and in `name=value` texts.
const SECRETS: [&str; 7] = ["password", "passwd", "passphrase", "pwd", "secret", "token", "key"];

/// `text` with stars in the place of what may be a password: everything before the last `@`, the query of a URL, and the values of
/// names such as `password`. Rather too much than too little, since a text that is no valid URL has no sure parts.
pub fn hide(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => match text.split_once(':').filter(|(_, rest)| rest.contains('@')) {
            Some((kind, rest)) => (format!("{kind}:"), rest),
            None => (String::new(), text),
        },
    };
    let shown = match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}***@{rest}"),
        None => format!("{scheme}{rest}"),
    };
    match shown.split_once('?') {
        Some((before, query)) if !scheme.is_empty() && !query.is_empty() => format!("{before}?***"),
        _ => without_named(&shown),
    }
}

/// Hides the value of each `password=…`.
fn without_named(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((name, value)) = rest.split_once('=') {
        shown.push_str(name);
        shown.push('=');
        let lower = name.trim_end().to_ascii_lowercase();
        if !SECRETS.iter().any(|secret| lower.ends_with(secret)) {
            rest = value;
            continue;
        }
        let start = value.trim_start();
        let end = match start.chars().next() {
            Some(quote @ ('\'' | '"')) => start[1..].find(quote).map_or(start.len(), |end| end + 2),
            _ => start.find(|c: char| c.is_whitespace() || matches!(c, '&' | ';')).unwrap_or(start.len()),
        };
        if end > 0 {
            shown.push_str("***");
        }
        rest = &start[end..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_password_is_shown() {
        for (text, shown) in [
            ("postgres://user:PW@host/db", "postgres://***@host/db"),
            ("postgres://PW@host/db", "postgres://***@host/db"),
            ("postgres://user:P@W/P:W@host:5432/db", "postgres://***@host:5432/db"),
            ("postgres://host/db?user=u&password=PW", "postgres://host/db?***"),
            ("postgres://user:PW@host/db?sslkey=PW", "postgres://***@host/db?***"),
            ("postgresql:user:PW@host/db", "postgresql:***@host/db"),
            ("user:PW@host", "user:***@host"),
            ("PW@host", "***@host"),
            ("host=h user=u password=PW dbname=d", "host=h user=u password=*** dbname=d"),
            ("host=h PASSWORD = 'P W' dbname=d", "host=h PASSWORD =*** dbname=d"),
            ("sqlserver:server=h;Pwd=PW;Database=d", "sqlserver:server=h;Pwd=***;Database=d"),
            ("s3:bucket aws_secret_access_key=PW", "s3:bucket aws_secret_access_key=***"),
        ] {
            assert_eq!(hide(text), shown, "{text}");
            assert!(!hide(text).contains("PW"), "{text}");
        }
    }

    #[test]
    fn what_holds_none_stays_as_it_is() {
        for text in
            ["", "warehouse.db", "sqlite:warehouse.db", "sqlite:///w.db", "parquet:s3://bucket/x", "null:x", "a=b"]
        {
            assert_eq!(hide(text), text);
        }
    }
}
