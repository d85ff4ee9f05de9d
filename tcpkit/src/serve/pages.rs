//! Answers that several readers share.
//!
//! A reader is told a snapshot that was begun after it asked; readers that wait for the same one share it, and what was
//! rendered of it. So a flood of questions costs as much as one.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::Bytes;
use tokio::sync::Mutex;

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
    latest: [Arc<Mutex<Option<Latest>>>; 2],
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
        let mut latest = Arc::clone(&self.latest[usize::from(whole)])
            .lock_owned()
            .await;
        if let Some(latest) = latest.as_ref().filter(|latest| latest.begun >= asked) {
            return Some(Arc::clone(&latest.rendered));
        }
        let reader = self.reader.clone();
        // The lock goes with the question: a reader that is gone before its answer leaves no second question behind.
        let ask = move || {
            let begun = Instant::now();
            let snapshot = match whole {
                true => reader.snapshot(),
                false => reader.since_start(),
            }?;
            let rendered = Arc::new(Rendered {
                snapshot,
                forms: Default::default(),
            });
            *latest = Some(Latest {
                begun,
                rendered: Arc::clone(&rendered),
            });
            Some(rendered)
        };
        tokio::task::spawn_blocking(ask).await.ok()?
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits;
    use crate::serve::Settings;
    use crate::serve::keeper::Keeper;
    use crate::sink::stats::snapshot::KeyForm;
    use crate::sink::stats::{Metrics, Rules};

    /// Readers of a run whose only worker never looks, so that every question takes [`limits::PARCEL_TIME`].
    #[test]
    fn readers_that_are_gone_leave_no_questions_behind() {
        let keeper = Keeper::start(Settings {
            rules: Rules::default(),
            asked: vec![6379],
            keys: KeyForm::None,
            mode: "redis",
            live: true,
            scripts: Metrics::default(),
            pushes: None,
        })
        .unwrap();
        let _desk = keeper.desk(0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()
            .unwrap();
        let pages = Arc::new(Pages::new(keeper.reader(), "redis"));
        let ask = || {
            runtime.block_on(async {
                for _ in 0..100 {
                    let pages = Arc::clone(&pages);
                    let gone = tokio::spawn(async move { pages.get(Form::Classic).await });
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    gone.abort();
                }
                let begun = Instant::now();
                assert!(pages.get(Form::Classic).await.is_some());
                begun.elapsed()
            })
        };
        // The least of some: a machine that is busy with others makes one longer, questions that are left behind each.
        let took = (0..4).map(|_| ask()).min().unwrap();
        assert!(took < limits::PARCEL_TIME * 6, "{took:?}");
    }
}
