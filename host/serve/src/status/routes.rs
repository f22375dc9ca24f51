//! Routes of the status server, and who is authorised for each.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Answer, Kind, answer, line, problem, see_other, with};
use super::sessions::LIFETIME;
use super::{Shared, api, pages};
use crate::tenant::TenantId;

/// Bytes of the only form.
const FORM_BYTES: usize = 2 << 10;
/// How long the form may take to arrive.
const FORM_TIME: Duration = Duration::from_secs(10);
/// How long an answer may wait until others were sent.
const RENDER_WAIT: Duration = Duration::from_secs(5);
/// Syncs of one tenant that the API shows, unless asked for fewer.
const MOST_HISTORY: usize = 1000;
/// Smaller answers are not worth compressing.
const WORTH_COMPRESSING: usize = 4 << 10;
/// The cookie that holds a session.
const COOKIE: &str = "status_session";

/// What can be asked for.
enum Route {
    Health,
    Ready,
    Metrics,
    Tenants,
    Tenant(TenantId),
    History(TenantId),
    ListPage,
    TenantPage(TenantId),
    SignIn,
    SignOut,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        let id = |text: &str| text.parse().ok();
        Some(match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api/tenants" => Self::Tenants,
            "/" => Self::ListPage,
            "/sign-in" => Self::SignIn,
            "/sign-out" => Self::SignOut,
            _ => match path.strip_prefix("/api/tenants/") {
                Some(rest) => match rest.strip_suffix("/history") {
                    Some(rest) => Self::History(id(rest)?),
                    None => Self::Tenant(id(rest)?),
                },
                None => Self::TenantPage(id(path.strip_prefix("/tenants/")?)?),
            },
        })
    }

    /// The methods, as `Allow` names them.
    fn allow(&self) -> &'static str {
        match self {
            Self::SignIn => "GET, HEAD, POST",
            Self::SignOut => "POST",
            _ => "GET, HEAD",
        }
    }

    fn allows(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    fn is_page(&self) -> bool {
        matches!(self, Self::ListPage | Self::TenantPage(_))
    }
}

/// Answers one request.
pub(super) async fn answer_to(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    if shared.is_loopback && !names_this_machine(&parts) {
        // A page of somebody else's, whose name was made to resolve to this machine, has that name here.
        return line(StatusCode::MISDIRECTED_REQUEST, "this server answers to localhost, 127.0.0.1 and [::1] only");
    }
    let Some(route) = Route::of(parts.uri.path()) else {
        return line(StatusCode::NOT_FOUND, "there is nothing here");
    };
    if !route.allows(&parts.method) {
        let refused = line(StatusCode::METHOD_NOT_ALLOWED, "this can't be done here");
        return with(refused, header::ALLOW, route.allow());
    }
    if parts.method == Method::POST {
        return post(shared, &route, &parts, body).await;
    }
    if !body.is_end_stream() {
        return too_large();
    }
    get(shared, route, parts).await
}

async fn get(shared: &Arc<Shared>, route: Route, parts: Parts) -> Answer {
    match route {
        Route::Health => return line(StatusCode::OK, "ok"),
        Route::Ready if shared.watch.is_ready() => return line(StatusCode::OK, "ready"),
        Route::Ready => return line(StatusCode::SERVICE_UNAVAILABLE, "no syncs are being started"),
        Route::SignIn | Route::SignOut if is_authorized(shared, &parts) => return see_other("/"),
        Route::SignIn | Route::SignOut => return answer(StatusCode::OK, Kind::Html, pages::sign_in(false)),
        _ => {}
    }
    if !is_authorized(shared, &parts) {
        if route.is_page() {
            return see_other("/sign-in");
        }
        let refused = problem(StatusCode::UNAUTHORIZED, "send the token of this server: `Authorization: Bearer …`");
        return with(refused, header::WWW_AUTHENTICATE, "Bearer");
    }
    let Ok(Ok(place)) = tokio::time::timeout(RENDER_WAIT, shared.rendered.clone().acquire_owned()).await else {
        let busy = line(StatusCode::SERVICE_UNAVAILABLE, "too many answers are on their way");
        return with(busy, header::RETRY_AFTER, "5");
    };
    let shared = shared.clone();
    // The history is read from a file, and ten thousand tenants take a while.
    let rendered = tokio::task::spawn_blocking(move || {
        let (status, kind, text) = render(&shared, &route, &parts);
        pack(status, kind, text, accepts_gzip(&parts), place)
    });
    rendered.await.unwrap_or_else(|_| line(StatusCode::INTERNAL_SERVER_ERROR, "this can't be shown"))
}

fn render(shared: &Shared, route: &Route, parts: &Parts) -> (StatusCode, Kind, String) {
    let (watch, now) = (&*shared.watch, Utc::now());
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let found = |kind, text: Option<String>| match (kind, text) {
        (_, Some(text)) => (StatusCode::OK, kind, text),
        (Kind::Html, None) => (StatusCode::NOT_FOUND, kind, pages::no_tenant()),
        (_, None) => (StatusCode::NOT_FOUND, kind, "{\"error\":\"there is no such tenant\"}\n".to_owned()),
    };
    let find = |id: &TenantId| watch.tenants().into_iter().find(|tenant| tenant.id == *id);
    match route {
        Route::Metrics => (StatusCode::OK, Kind::Metrics, shared.metrics.text(watch, now)),
        Route::Tenants => (StatusCode::OK, Kind::Json, api::tenants(watch, &query.text("q"), now)),
        Route::Tenant(id) => found(Kind::Json, find(id).map(|tenant| api::tenant(&tenant, now))),
        Route::History(id) => {
            let most = query.number("limit").unwrap_or(100).min(MOST_HISTORY);
            found(Kind::Json, find(id).map(|tenant| api::history(&watch.history(&tenant.id, most))))
        }
        Route::TenantPage(id) => {
            let view = pages::View { can_sign_out: shared.token.is_some(), now };
            found(Kind::Html, find(id).map(|tenant| pages::tenant(watch, &tenant, &view)))
        }
        Route::ListPage => {
            let view = pages::View { can_sign_out: shared.token.is_some(), now };
            let asked = pages::Asked {
                filter: query.text("q"),
                page: query.number("page").unwrap_or(1),
                refreshes: query.text("refresh") != "off",
            };
            (StatusCode::OK, Kind::Html, pages::list(watch, &asked, &view))
        }
        // Answered already.
        Route::Health | Route::Ready | Route::SignIn | Route::SignOut => {
            (StatusCode::NOT_FOUND, Kind::Text, String::new())
        }
    }
}

/// A rendered answer, which keeps its place until it was sent.
fn pack(status: StatusCode, kind: Kind, text: String, gzip: bool, place: OwnedSemaphorePermit) -> Answer {
    let packed = (gzip && text.len() >= WORTH_COMPRESSING).then(|| compress(text.as_bytes())).flatten();
    let is_packed = packed.is_some();
    let body = Bytes::from_owner(Held { bytes: packed.unwrap_or_else(|| text.into_bytes()), _place: place });
    let answer = with(answer(status, kind, body), header::VARY, "accept-encoding");
    if is_packed { with(answer, header::CONTENT_ENCODING, "gzip") } else { answer }
}

struct Held {
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn accepts_gzip(parts: &Parts) -> bool {
    let accepted = parts.headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        // `gzip;q=0` is a refusal.
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// Signs a browser in or out.
async fn post(shared: &Shared, route: &Route, parts: &Parts, body: Incoming) -> Answer {
    // Browsers say it of every request; other programs need no form.
    let site = parts.headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return line(StatusCode::FORBIDDEN, "this form was sent from elsewhere");
    }
    let Ok(Ok(form)) = tokio::time::timeout(FORM_TIME, Limited::new(body, FORM_BYTES).collect()).await else {
        return too_large();
    };
    match (route, &shared.token) {
        (Route::SignOut, _) => {
            cookies(parts).for_each(|session| shared.sessions.close(session));
            with(see_other("/sign-in"), header::SET_COOKIE, &cookie(parts, "", 0))
        }
        (_, None) => see_other("/"),
        (_, Some(token)) => {
            let form = form.to_bytes();
            let given = form_urlencoded::parse(&form).find(|(name, _)| name == "token");
            if !given.is_some_and(|(_, given)| token.is(given.trim().as_bytes())) {
                return answer(StatusCode::FORBIDDEN, Kind::Html, pages::sign_in(true));
            }
            match shared.sessions.open(Instant::now()) {
                Some(session) => {
                    let cookie = cookie(parts, &session, LIFETIME.as_secs());
                    with(see_other("/"), header::SET_COOKIE, &cookie)
                }
                None => line(StatusCode::INTERNAL_SERVER_ERROR, "the system has no random numbers"),
            }
        }
    }
}

fn too_large() -> Answer {
    // What is still to come is not read.
    with(line(StatusCode::PAYLOAD_TOO_LARGE, "that is too much"), header::CONNECTION, "close")
}

fn cookie(parts: &Parts, value: &str, seconds: u64) -> String {
    // A proxy in front says whether browsers come by TLS; who lies about that keeps nothing but his own cookie from himself.
    let tls = parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let secure = if tls { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn cookies(parts: &Parts) -> impl Iterator<Item = &str> {
    let headers = parts.headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = headers.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn is_authorized(shared: &Shared, parts: &Parts) -> bool {
    let Some(token) = &shared.token else { return true };
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| given.trim_ascii())
    });
    bearer.is_some_and(|given| token.is(given))
        || cookies(parts).any(|session| shared.sessions.has(session, Instant::now()))
}

/// Whether the `Host` of a request is a name of the machine that it runs on.
fn names_this_machine(parts: &Parts) -> bool {
    let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.and_then(|host| host.parse::<http::uri::Authority>().ok());
    // A request may also name its whole URL, which then counts (RFC 9112, 3.2.2).
    let Some(authority) = parts.uri.authority().or(named.as_ref()) else { return false };
    let host = authority.host().trim_end_matches('.');
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What comes after the `?`.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn text(&self, name: &str) -> String {
        self.0.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, value)| value.clone())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.text(name).parse().ok()
    }
}
