//! Pages for people: HTML as it is, without scripts and without anything from elsewhere. They renew themselves, can be read on a phone
//! and to somebody, and say nothing by colour alone.

mod html;
mod list;
mod sparkline;
mod tenant;
mod units;

use chrono::{DateTime, Utc};

use html::Html;
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
    let mut html = begin("Sign in", false);
    html.add("<main class=\"narrow\"><h1>Tenants</h1><form method=\"post\" action=\"/sign-in\">");
    if was_wrong {
        html.add("<p role=\"alert\" class=\"alert\">That is not the token of this server.</p>");
    }
    // For those who have a browser or another program keep it.
    html.add("<input name=\"username\" value=\"status\" autocomplete=\"username\" hidden>");
    html.add("<label for=\"token\">Token of this server</label>");
    html.add("<input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required>");
    html.add("<button>Sign in</button></form></main>");
    end(html)
}

/// What is shown in the place of a tenant that is not there.
pub(super) fn no_tenant() -> String {
    let mut html = begin("No such tenant", false);
    html.add("<main class=\"narrow\"><h1>There is no such tenant</h1><p><a href=\"/\">All tenants</a></p></main>");
    end(html)
}

fn begin(title: &str, refreshes: bool) -> Html {
    let mut html = Html::default();
    html.add("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    if refreshes {
        html.add("<meta http-equiv=\"refresh\" content=\"30\">");
    }
    // Without it browsers ask for /favicon.ico.
    html.add("<link rel=\"icon\" href=\"data:,\"><title>").text(title).add("</title><style>").add(STYLE);
    html.add("</style></head><body>");
    html
}

fn end(mut html: Html) -> String {
    html.add("</body></html>\n");
    html.finish()
}

fn sign_out(html: &mut Html, view: &View) {
    if view.can_sign_out {
        html.add("<form method=\"post\" action=\"/sign-out\"><button>Sign out</button></form>");
    }
}
