//! The scripts of a run: loaded before anything else, since they may teach the protocols that options
//! name; fed by sinks.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::bail;

use super::notice::tell;
use super::report::Report;
use crate::limits::LUA_SCRIPTS;
use crate::lua::print::{Printer, Target};
use crate::lua::{Loading, LuaSink, Policy, Settings, Taught, Teacher, watch};
use crate::protocol::{self, Protocol};
use crate::sink::Sink;
use crate::sink::inbox::{Inbox, Inboxes};
use crate::sink::stats::Metrics;
use crate::source::shown;

/// What a build can not do that was made without the project's settings for cargo.
const UNSTOPPABLE: &str = "this build cannot stop a script that loops for ever: its thread would be abandoned, and \
    use a processor until the run ends; build in the project's folder, or with TARGET_FLAGS=-DLUAJIT_ENABLE_CHECKHOOK";

/// Scripts, loaded.
#[derive(Default)]
pub struct Scripts {
    teachers: Vec<Teacher>,
    /// What they count.
    pub metrics: Metrics,
}

impl Scripts {
    /// Loads scripts, and registers the protocols that they teach. Over a live capture they are not
    /// waited for.
    ///
    /// # Errors
    /// A sentence for the user: what is wrong with a script.
    pub fn load(paths: Vec<PathBuf>, live: bool, allow_all: bool) -> anyhow::Result<Self> {
        let policy = if live { Policy::Drop } else { Policy::Wait };
        if paths.len() > LUA_SCRIPTS {
            bail!("--script: at most {LUA_SCRIPTS} scripts run together");
        }
        if !paths.is_empty() && !watch::stops_compiled_loops() {
            tell(UNSTOPPABLE);
        }
        let mut scripts = Self::default();
        let mut taught: Vec<&'static dyn Protocol> = Vec::new();
        for path in paths {
            let settings = Settings {
                path,
                policy,
                allow_all,
                metrics: scripts.metrics.clone(),
                tell: Arc::new(tell),
                dropped: Arc::default(),
            };
            let loading = Loading::start(settings, Arc::new(Printer::default()));
            let host = loading.and_then(Loading::wait)?;
            let (plans, path) = (host.loaded.plans.clone(), host.settings.path.clone());
            let teacher = Arc::new(RwLock::new(Arc::new(host)));
            for (place, plan) in plans.into_iter().enumerate() {
                let mut others = protocol::all().chain(taught.iter().copied());
                if others.any(|other| other.name() == plan.name) {
                    bail!(
                        "{}: there is a protocol `{}` already",
                        shown::path(&path),
                        plan.name
                    );
                }
                taught.push(Taught::teach(plan, place, Arc::clone(&teacher)));
            }
            scripts.teachers.push(teacher);
        }
        protocol::teach(taught);
        Ok(scripts)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.teachers.is_empty()
    }

    /// A sink for each, which print to `out`, a clone of the report's way out: where `ordered` among the report's
    /// own lines, which have to come from a sink with the inboxes. Bytes that a terminal would act on are escaped
    /// where the report goes to one.
    pub(super) fn sinks<W>(
        &self,
        report: &Report,
        out: &W,
        ordered: bool,
    ) -> (Vec<Box<dyn Sink + Send>>, Inboxes)
    where
        W: io::Write + Clone + Send + 'static,
    {
        let escape = report.is_stdout() && io::stdout().is_terminal();
        let mut sinks: Vec<Box<dyn Sink + Send>> = Vec::new();
        let mut inboxes = Vec::new();
        for teacher in &self.teachers {
            let target = match ordered {
                true => {
                    inboxes.push(Arc::new(Inbox::default()));
                    inboxes
                        .last()
                        .map(|inbox| Target::Ordered(Arc::clone(inbox)))
                }
                false => None,
            };
            let target = target.unwrap_or_else(|| Target::Direct(Box::new(out.clone())));
            let host = teacher.read().unwrap_or_else(PoisonError::into_inner);
            host.printer.open(target, escape);
            drop(host);
            sinks.push(Box::new(LuaSink::new(Arc::clone(teacher))));
        }
        (sinks, Inboxes::new(inboxes))
    }
}
