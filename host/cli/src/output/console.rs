//! Standard error: log lines, and the progress of a sync.
//!
//! One thread owns the stream, so that lines never tear each other, and so that whoever logs never waits for a slow
//! terminal. On a terminal the progress is one line, redrawn below the log; elsewhere it is a log line now and then.
//!
//! Of `indicatif` (four crates) the drawing of that line could be used, which is 20 lines here. Its bars draw from whichever thread reports,
//! and draw nothing where there is no terminal, so that the thread, the queue of bounded size and the line now and then would stay.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use elt_host::{Event, Level, Observer};
use elt_serve::tenant::TenantId;
use elt_support::printable::escape_control;
use serde::Serialize;

use crate::args::{Color, Format, LogLevel, OutputArgs};
use crate::output::progress::Progress;
use crate::output::{json, table};

/// Between two drawings of the line on a terminal.
const FRAME: Duration = Duration::from_millis(100);
/// Between two progress lines where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of tenants' lines that may wait.
const MOST_WAITING: usize = 16 << 20;
/// Bytes that a line takes beside its text.
const LINE_OVERHEAD: usize = 100;

/// A handle on standard error.
pub(crate) struct Console {
    sender: mpsc::Sender<Message>,
    backlog: Arc<Backlog>,
}

/// Lines of tenants that wait to be written. Together they take no more memory than [`MOST_WAITING`], however slow standard error is and
/// however much a connector says.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    dropped: AtomicUsize,
}

enum Message {
    Event(Event),
    /// A line of one tenant's sync.
    Tenant(TenantId, Level, String),
    ProgressStarts,
    ProgressEnds,
    Flush(mpsc::SyncSender<()>),
}

impl Console {
    /// Starts the thread that owns standard error.
    pub(crate) fn new(output: &OutputArgs) -> std::io::Result<Self> {
        let style = Style::of_process(output);
        let (sender, receiver) = mpsc::channel();
        let mut screen = Screen::new(std::io::stderr(), style);
        let backlog = screen.backlog.clone();
        std::thread::Builder::new().name("console".into()).spawn(move || screen.serve(&receiver))?;
        Ok(Self { sender, backlog })
    }

    /// One line, if its level is shown.
    pub(crate) fn log(&self, level: Level, message: impl Into<String>) {
        self.send(Message::Event(Event::Log { level, message: message.into() }));
    }

    /// One line of a tenant's sync, if its level is shown; dropped and counted when too many wait.
    pub(crate) fn log_of(&self, tenant: &TenantId, level: Level, message: String) {
        if self.backlog.bytes.load(Ordering::Relaxed) + message.len() > MOST_WAITING {
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.backlog.bytes.fetch_add(message.len() + LINE_OVERHEAD, Ordering::Relaxed);
        self.send(Message::Tenant(tenant.clone(), level, message));
    }

    pub(crate) fn start_progress(&self) {
        self.send(Message::ProgressStarts);
    }

    pub(crate) fn end_progress(&self) {
        self.send(Message::ProgressEnds);
    }

    /// Waits until all that was said is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.send(Message::Flush(sender));
        receiver.recv_timeout(PATIENCE).ok();
    }

    /// Only fails when the thread is gone, and then there is nobody to tell.
    fn send(&self, message: Message) {
        self.sender.send(message).ok();
    }
}

impl Observer for Console {
    fn event(&self, event: Event) {
        self.send(Message::Event(event));
    }
}

/// How lines look, and which are shown.
#[derive(Debug, Clone, Copy)]
struct Style {
    least: Level,
    format: Format,
    color: bool,
    progress: Shown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Never,
    /// A log line now and then.
    Plain,
    /// One line that is redrawn.
    Live,
}

impl Style {
    fn of_process(output: &OutputArgs) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let terminal = std::io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match output.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !dumb && !set("NO_COLOR"),
        };
        let progress = match output.no_progress {
            true => Shown::Never,
            false if terminal && !dumb && output.log_format == Format::Text => Shown::Live,
            false => Shown::Plain,
        };
        let least = match output.log_level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
            LogLevel::Severe => Level::Severe,
        };
        Self { least, format: output.log_format, color, progress }
    }

    fn line(self, level: Level, tenant: Option<&TenantId>, message: &str) -> String {
        let (name, color) = match level {
            Level::Debug => ("DEBUG", "\x1b[2m"),
            Level::Info => ("INFO", "\x1b[32m"),
            Level::Warning => ("WARNING", "\x1b[33m"),
            Level::Severe => ("SEVERE", "\x1b[31m"),
        };
        match self.format {
            Format::Json => {
                let ts = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
                json::line(&LogLine {
                    ts,
                    level: name.to_ascii_lowercase(),
                    tenant: tenant.map(TenantId::as_str),
                    message,
                })
            }
            Format::Text => {
                let (start, end) = if self.color { (color, "\x1b[0m") } else { ("", "") };
                let tenant = tenant.map(|tenant| format!("[{tenant}] ")).unwrap_or_default();
                format!("{start}{name}:{end} {tenant}{}\n", escape_control(message))
            }
        }
    }
}

/// A log line as JSON.
#[derive(Serialize)]
struct LogLine<'a> {
    ts: String,
    level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    message: &'a str,
}

/// What the thread owns. Errors of writing are ignored: standard error may be closed, and the sync goes on.
struct Screen<W: Write> {
    stream: W,
    style: Style,
    progress: Option<Progress>,
    /// What stands in the live line now; empty when there is none.
    drawn: String,
    shown_at: Instant,
    backlog: Arc<Backlog>,
}

impl<W: Write> Screen<W> {
    fn new(stream: W, style: Style) -> Self {
        let (drawn, shown_at) = (String::new(), Instant::now());
        Self { stream, style, progress: None, drawn, shown_at, backlog: Arc::default() }
    }

    fn serve(&mut self, receiver: &mpsc::Receiver<Message>) {
        loop {
            match receiver.recv_timeout(FRAME) {
                Ok(message) => self.take(message, Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.clear(),
            }
            self.show_progress(Instant::now());
        }
    }

    fn take(&mut self, message: Message, now: Instant) {
        match message {
            Message::Event(Event::Log { level, message }) => self.log(level, None, &message),
            Message::Tenant(tenant, level, message) => {
                self.backlog.bytes.fetch_sub(message.len() + LINE_OVERHEAD, Ordering::Relaxed);
                self.log(level, Some(&tenant), &message);
                let dropped = self.backlog.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    let message =
                        format!("{dropped} lines of tenants were dropped: they came faster than they could be written");
                    self.log(Level::Warning, None, &message);
                }
            }
            Message::Event(event) => {
                if let Some(progress) = &mut self.progress {
                    progress.note(&event, now);
                }
            }
            Message::ProgressStarts => {
                self.progress = Some(Progress::new(now));
                self.shown_at = now;
            }
            Message::ProgressEnds => {
                self.progress = None;
                self.clear();
            }
            Message::Flush(done) => {
                self.clear();
                self.stream.flush().ok();
                done.send(()).ok();
            }
        }
    }

    fn log(&mut self, level: Level, tenant: Option<&TenantId>, message: &str) {
        if level < self.style.least {
            return;
        }
        let drawn = std::mem::take(&mut self.drawn);
        let erase = if drawn.is_empty() { "" } else { ERASE };
        let line = self.style.line(level, tenant, message);
        self.stream.write_all(format!("{erase}{line}{drawn}").as_bytes()).ok();
        self.drawn = drawn;
    }

    fn show_progress(&mut self, now: Instant) {
        let Some(progress) = &self.progress else { return };
        let interval = if self.style.progress == Shown::Live { FRAME } else { PLAIN_INTERVAL };
        if now.saturating_duration_since(self.shown_at) < interval {
            return;
        }
        self.shown_at = now;
        let line = progress.line(now);
        match self.style.progress {
            Shown::Never => {}
            Shown::Plain => self.log(Level::Info, None, &line),
            Shown::Live => {
                let line = table::shorten(&line, terminal_width().saturating_sub(1));
                if line != self.drawn {
                    self.stream.write_all(format!("{ERASE}{line}").as_bytes()).ok();
                    self.stream.flush().ok();
                    self.drawn = line;
                }
            }
        }
    }

    fn clear(&mut self) {
        if !std::mem::take(&mut self.drawn).is_empty() {
            self.stream.write_all(ERASE.as_bytes()).ok();
        }
    }
}

/// To the start of the line, and erase it.
const ERASE: &str = "\r\x1b[2K";

fn terminal_width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| width.0.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { least: Level::Info, format: Format::Text, color: false, progress: Shown::Plain };

    fn written(style: Style, act: impl FnOnce(&mut Screen<&mut Vec<u8>>, Instant)) -> String {
        let mut stream = Vec::new();
        act(&mut Screen::new(&mut stream, style), Instant::now());
        String::from_utf8(stream).unwrap()
    }

    fn log(level: Level, message: &str) -> Message {
        Message::Event(Event::Log { level, message: message.into() })
    }

    #[test]
    fn lines_have_their_level_in_front_and_only_those_asked_for_are_shown() {
        let all = |style| {
            written(style, |screen, now| {
                for level in [Level::Debug, Level::Info, Level::Warning, Level::Severe] {
                    screen.take(log(level, "a\u{1b}[2Jb"), now);
                }
            })
        };
        insta::assert_snapshot!(all(Style { least: Level::Debug, ..PLAIN }), @r#"
        DEBUG: a\u{1b}[2Jb
        INFO: a\u{1b}[2Jb
        WARNING: a\u{1b}[2Jb
        SEVERE: a\u{1b}[2Jb
        "#);
        insta::assert_snapshot!(all(Style { least: Level::Warning, ..PLAIN }), @r#"
        WARNING: a\u{1b}[2Jb
        SEVERE: a\u{1b}[2Jb
        "#);
    }

    #[test]
    fn json_lines_hold_time_level_and_message() {
        let text = written(Style { format: Format::Json, ..PLAIN }, |screen, now| {
            screen.take(log(Level::Warning, "a \"b\"\u{9b}"), now);
        });
        assert!(text.is_ascii());
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&json!("warning"), &json!("a \"b\"\u{9b}")));
        assert!(chrono::DateTime::parse_from_rfc3339(line["ts"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn a_tenants_lines_say_whose_they_are() {
        let said = |style| {
            written(style, |screen, now| {
                screen.backlog.bytes.store(LINE_OVERHEAD + 3, Ordering::Relaxed);
                screen.backlog.dropped.store(2, Ordering::Relaxed);
                screen.take(Message::Tenant("acme".parse().unwrap(), Level::Info, "a\nb".into()), now);
            })
        };
        insta::assert_snapshot!(said(PLAIN), @r"
        INFO: [acme] a\nb
        WARNING: 2 lines of tenants were dropped: they came faster than they could be written
        ");
        let json = said(Style { format: Format::Json, ..PLAIN });
        let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!((&line["tenant"], &line["message"]), (&json!("acme"), &json!("a\nb")));
    }

    #[test]
    fn tenants_lines_that_nobody_reads_take_bounded_memory() {
        let (sender, receiver) = mpsc::channel();
        let console = Console { sender, backlog: Arc::default() };
        let tenant = "acme".parse().unwrap();
        for _ in 0..100_000 {
            console.log_of(&tenant, Level::Info, "x".repeat(1000));
        }
        let waiting = receiver.try_iter().count();
        assert!((10_000..20_000).contains(&waiting), "{waiting}");
        assert_eq!(console.backlog.dropped.load(Ordering::Relaxed), 100_000 - waiting);
    }

    #[test]
    fn without_a_terminal_progress_is_a_line_every_ten_seconds() {
        let text = written(PLAIN, |screen, now| {
            screen.take(Message::ProgressStarts, now);
            for second in 0..=25 {
                screen.show_progress(now + Duration::from_secs(second));
            }
        });
        assert_eq!(text, "INFO: starting · 0:10\nINFO: starting · 0:20\n");
    }

    #[test]
    fn on_a_terminal_a_log_line_goes_above_the_progress() {
        let text = written(Style { progress: Shown::Live, ..PLAIN }, |screen, now| {
            screen.take(Message::ProgressStarts, now);
            screen.show_progress(now + FRAME);
            screen.take(log(Level::Info, "hello"), now);
            screen.take(Message::ProgressEnds, now);
            screen.take(log(Level::Info, "bye"), now);
        });
        let expected = "\r\x1b[2Kstarting · 0:00\r\x1b[2KINFO: hello\nstarting · 0:00\r\x1b[2KINFO: bye\n";
        assert_eq!(text, expected);
    }
}
