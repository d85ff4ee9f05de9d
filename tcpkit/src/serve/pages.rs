//! Answers that several readers share.
//!
//! A reader is told a snapshot that was begun after it asked; readers that wait for the same one share it, and what was
//! rendered of it. So a flood of questions costs as much as one.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::Bytes;

use super::keeper::Reader;
use super::{classic, metrics};
use crate::sink::stats::snapshot::Snapshot;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Classic,
    ClassicObject,
    Snapshot,
    Metrics,
    OpenMetrics,
}

impl Form {
    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Classic | Self::ClassicObject | Self::Snapshot => "application/json",
            Self::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Makes answers, each once.
#[derive(Debug)]
pub(super) struct Pages {
    reader: Reader,
    mode: &'static str,
    /// Without windows, and with them.
    latest: [tokio::sync::Mutex<Option<Latest>>; 2],
}

#[derive(Debug)]
struct Latest {
    begun: Instant,
    rendered: Arc<Rendered>,
}

#[derive(Debug)]
struct Rendered {
    snapshot: Arc<Snapshot>,
    forms: [OnceLock<Bytes>; 5],
}

impl Pages {
    pub(super) fn new(reader: Reader, mode: &'static str) -> Self {
        Self {
            reader,
            mode,
            latest: Default::default(),
        }
    }

    /// The answer in this form; `None` if the counts cannot be had.
    pub(super) async fn get(&self, form: Form) -> Option<Bytes> {
        let rendered = self.rendered(form == Form::Snapshot).await?;
        if let Some(bytes) = rendered.forms[form as usize].get() {
            return Some(bytes.clone());
        }
        let mode = self.mode;
        let render = move || rendered.get(form, mode);
        tokio::task::spawn_blocking(render).await.ok()
    }

    async fn rendered(&self, whole: bool) -> Option<Arc<Rendered>> {
        let asked = Instant::now();
        let mut latest = self.latest[usize::from(whole)].lock().await;
        if let Some(latest) = latest.as_ref().filter(|latest| latest.begun >= asked) {
            return Some(Arc::clone(&latest.rendered));
        }
        let begun = Instant::now();
        let reader = self.reader.clone();
        let snapshot = tokio::task::spawn_blocking(move || match whole {
            true => reader.snapshot(),
            false => reader.since_start(),
        })
        .await;
        let rendered = Arc::new(Rendered {
            snapshot: snapshot.ok()??,
            forms: Default::default(),
        });
        *latest = Some(Latest {
            begun,
            rendered: Arc::clone(&rendered),
        });
        Some(rendered)
    }
}

impl Rendered {
    fn get(&self, form: Form, mode: &str) -> Bytes {
        let render = || render(&self.snapshot, form, mode);
        self.forms[form as usize].get_or_init(render).clone()
    }
}

fn render(snapshot: &Snapshot, form: Form, mode: &str) -> Bytes {
    match form {
        Form::Classic => classic::array(snapshot).into(),
        Form::ClassicObject => classic::object(snapshot, mode).into(),
        Form::Snapshot => serde_json::to_vec(snapshot).unwrap_or_default().into(),
        Form::Metrics => metrics::text(snapshot).into(),
        Form::OpenMetrics => metrics::open_metrics(snapshot).into(),
    }
}
