//! Pages for people: HTML as it is, without scripts and without anything from elsewhere. They renew themselves, can be read on a phone
//! and to somebody, and say nothing by colour alone.
//!
//! Markup is only what is written in these files, between the braces of `html!`; everything else that it shows is text.

mod list;
mod sparkline;
mod tenant;
mod units;

use chrono::{DateTime, Utc};
use elt_support::printable::escape_control;
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(super) use list::{Asked, list};
pub(super) use tenant::tenant;

/// How all pages look. The only style that their policy lets a browser apply.
pub(super) const STYLE: &str = include_str!("style.css");

/// What a page is shown with.
pub(super) struct View {
    /// Whether there is a token, so that there is something to sign out of.
    pub(super) can_sign_out: bool,
    /// When it is.
    pub(super) now: DateTime<Utc>,
}

/// The form that takes the token. It goes in the body of a request, never into a URL.
pub(super) fn sign_in(was_wrong: bool) -> String {
    let body = html! {
        main class="narrow" {
            h1 { "Tenants" }
            form method="post" action="/sign-in" {
                @if was_wrong {
                    p role="alert" class="alert" { "That is not the token of this server." }
                }
                // For those who have a browser or another program keep it.
                input name="username" value="status" autocomplete="username" hidden;
                label for="token" { "Token of this server" }
                input id="token" name="token" type="password" autocomplete="current-password" required;
                button { "Sign in" }
            }
        }
    };
    page("Sign in", false, &body)
}

/// What is shown in the place of a tenant that is not there.
pub(super) fn no_tenant() -> String {
    let body = html! {
        main class="narrow" {
            h1 { "There is no such tenant" }
            p { a href="/" { "All tenants" } }
        }
    };
    page("No such tenant", false, &body)
}

fn page(title: &str, refreshes: bool, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if refreshes {
                    meta http-equiv="refresh" content="30";
                }
                // Without it browsers ask for /favicon.ico.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    // What would turn the direction of the text around it, and other control characters: of the page as a whole, so that no text can be
    // forgotten. Markup has none but line breaks.
    let lines = page.0.split('\n').map(escape_control);
    lines.chain([String::new()]).collect::<Vec<_>>().join("\n")
}

fn sign_out(view: &View) -> Markup {
    html! {
        @if view.can_sign_out {
            form method="post" action="/sign-out" { button { "Sign out" } }
        }
    }
}

/// The heading of a table.
fn headings(titles: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" {
                @for title in titles {
                    th role="columnheader" scope="col" { (title) }
                }
            }
        }
    }
}

/// A cell of a table. On a small screen, where a row is a card, the title is shown beside it.
fn cell(title: &str, content: &Markup) -> Markup {
    html! {
        td role="cell" data-title=(title) { (content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let (quote, script) = ("\" onload='x' a=\"", "<script>&\u{202e}\u{7}\n");
        let page = page("", false, &html! { b title=(quote) { (script) } });
        let body = page.split_once("<body>").map(|(_, body)| body);
        let expected =
            "<b title=\"&quot; onload='x' a=&quot;\">&lt;script&gt;&amp;\\u{202e}\\u{7}\n</b></body></html>\n";
        assert_eq!(body, Some(expected));
        assert!(page.contains(&format!("<style>{STYLE}</style>")), "the style is what its digest is of");
    }
}
