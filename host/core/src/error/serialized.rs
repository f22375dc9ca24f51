//! An error as JSON: its kind and its sentence, and of some kinds what a program acts on. It reads back as the same error.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ConfigurationProblem, Error, ErrorKind};
use crate::runtime::policy::Limits;

#[derive(Serialize, Deserialize)]
struct Form {
    kind: ErrorKind,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ConfigurationProblem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = Form {
            kind: self.kind(),
            message: self.to_string(),
            problems: Vec::new(),
            retry_after_seconds: None,
            status: None,
            limit: None,
            detail: None,
        };
        match self {
            Self::Configuration(problems) => form.problems.clone_from(problems),
            Self::RateLimited { retry_after, .. } => {
                form.retry_after_seconds = retry_after.map(|wait| wait.as_secs_f64())
            }
            Self::Upstream { status, .. } => form.status = *status,
            Self::Limit { limit, detail } => {
                (form.limit, form.detail) = (Some((*limit).to_owned()), Some(detail.clone()))
            }
            // Its sentence has a beginning of its own.
            Self::Contract(what) => form.detail = Some(what.clone()),
            _ => {}
        }
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let detail = form.detail.unwrap_or_default();
        Ok(match form.kind {
            ErrorKind::Configuration => Self::Configuration(form.problems),
            ErrorKind::Authentication => Self::Authentication(form.message),
            ErrorKind::Permission => Self::Permission(form.message),
            ErrorKind::NotFound => Self::NotFound(form.message),
            ErrorKind::RateLimited => {
                let wait = form.retry_after_seconds.map(Duration::try_from_secs_f64).transpose();
                Self::RateLimited { message: form.message, retry_after: wait.map_err(de::Error::custom)? }
            }
            ErrorKind::Upstream => Self::Upstream { status: form.status, message: form.message },
            ErrorKind::Destination => Self::Destination(form.message),
            ErrorKind::Interrupted => Self::Interrupted,
            ErrorKind::Limit => {
                let name = form.limit.unwrap_or_default();
                let limit = Limits::NAMES.iter().find(|known| **known == name);
                Self::Limit { limit: limit.ok_or_else(|| de::Error::custom("no such limit"))?, detail }
            }
            ErrorKind::Contract => Self::Contract(detail),
            ErrorKind::Internal => Self::Internal(form.message),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_error_reads_back_as_it_was_written() {
        let text = || "what happened".to_owned();
        let problem = ConfigurationProblem { key: Some("project".into()), message: text() };
        for error in [
            Error::Configuration(vec![problem]),
            Error::Authentication(text()),
            Error::Permission(text()),
            Error::NotFound(text()),
            Error::RateLimited { message: text(), retry_after: Some(Duration::from_millis(1500)) },
            Error::RateLimited { message: text(), retry_after: None },
            Error::Upstream { status: Some(503), message: text() },
            Error::Destination(text()),
            Error::Interrupted,
            Error::Limit { limit: "cpu_time", detail: text() },
            Error::Contract(text()),
            Error::Internal(text()),
        ] {
            let written = serde_json::to_value(&error).unwrap();
            assert_eq!(
                (&written["kind"], &written["message"]),
                (&json!(error.kind().name()), &json!(error.to_string()))
            );
            let read: Error = serde_json::from_value(written).unwrap();
            assert_eq!(format!("{read:?}"), format!("{error:?}"));
        }
    }

    #[test]
    fn what_was_never_written_is_refused() {
        for other in [
            json!({"kind": "limit", "message": "", "limit": "patience"}),
            json!({"kind": "rate-limited", "message": "", "retry_after_seconds": -1}),
            json!({"kind": "moody", "message": ""}),
            json!("internal"),
        ] {
            assert!(serde_json::from_value::<Error>(other.clone()).is_err(), "{other}");
        }
    }
}
