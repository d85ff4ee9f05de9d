//! The thread of one script, and the queue before it.
//!
//! Takes jobs from the capture's thread. Whatever becomes of the script, the capture learns of it by
//! the queue's state and goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, anyhow};
use crossbeam_channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};

use super::batch::Batch;
use super::hooks::Hooks;
use super::print::Printer;
use super::taught::{Plan, Query};
use super::vm::{Over, Vm};
use super::watch::Pulse;
use crate::limits::{LUA_LOOK, LUA_QUEUE};
use crate::sink::stats::metrics::Metrics;
use crate::source::shown;

/// What happens where a script is slower than the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is waited for: over a file.
    Wait,
    /// What it cannot keep up with is dropped and counted: live.
    Drop,
}

/// Tells the user a sentence, at once.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What a script is started with.
#[derive(Clone)]
pub struct Settings {
    /// Its file.
    pub path: PathBuf,
    /// Live or not.
    pub policy: Policy,
    /// All libraries are allowed (`--lua-unsafe`).
    pub allow_all: bool,
    /// Where its counters are kept.
    pub metrics: Metrics,
    /// Where errors are told.
    pub tell: Tell,
    /// What it could not keep up with, reloads included.
    pub dropped: Arc<AtomicU64>,
}

impl Settings {
    /// Counts events, and pieces of a taught protocol, that the script could not keep up with.
    pub fn drop_items(&self, items: u64) {
        if items > 0 && self.dropped.fetch_add(items, Ordering::Relaxed) == 0 {
            (self.tell)(&format!(
                "{}: the script is slower than the capture: what it cannot take is dropped and counted",
                shown::path(&self.path)
            ));
        }
    }
}

/// Something for the script to do.
enum Job {
    Batch(Box<Batch>),
    Parse(Query),
    Exit,
}

/// What became of a job that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The script will do it.
    Taken,
    /// The queue is full.
    Full,
    /// The script is gone.
    Gone,
}

/// What a script is, once it is loaded.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The hooks that it defines.
    pub hooks: Hooks,
    /// The protocols that it teaches.
    pub plans: Vec<Plan>,
}

/// A script that is being loaded.
pub struct Loading {
    host: Host,
    ready: Receiver<anyhow::Result<Loaded>>,
}

/// Why there is no script yet, or at all.
pub enum Tried {
    /// It is still being loaded.
    NotYet(Box<Loading>),
    /// It cannot be loaded: a sentence for the user.
    Failed(anyhow::Error),
}

/// A running script.
pub struct Host {
    /// What it was started with.
    pub settings: Settings,
    /// What it is.
    pub loaded: Loaded,
    /// Where it prints.
    pub printer: Arc<Printer>,
    pulse: Arc<Pulse>,
    jobs: Sender<Job>,
    spare: Receiver<Box<Batch>>,
    /// Closed when the thread has ended.
    done: Receiver<()>,
}

impl Loading {
    /// Starts a thread that loads the script; it prints to `printer`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(settings: Settings, printer: Arc<Printer>) -> anyhow::Result<Self> {
        let pulse = Arc::new(Pulse::default());
        let (jobs, todo) = bounded(LUA_QUEUE);
        let (back, spare) = bounded(LUA_QUEUE + 2);
        let (alive, done) = bounded(0);
        let (say, ready) = bounded(1);
        let seat = Seat {
            settings: settings.clone(),
            pulse: Arc::clone(&pulse),
            printer: Arc::clone(&printer),
            todo,
            back,
            alive: Some(alive),
        };
        let path = shown::path(&settings.path);
        thread::Builder::new()
            .name("lua".to_owned())
            .spawn(move || seat.run(&say))
            .with_context(|| format!("{path}: no thread for the script"))?;
        let host = Host {
            settings,
            loaded: Loaded::default(),
            printer,
            pulse,
            jobs,
            spare,
            done,
        };
        Ok(Self { host, ready })
    }

    /// Waits until the script is loaded.
    ///
    /// # Errors
    /// A sentence for the user: why it cannot be.
    pub fn wait(self) -> anyhow::Result<Host> {
        loop {
            match self.ready.recv_timeout(LUA_LOOK) {
                Ok(loaded) => return self.host.with(loaded),
                Err(RecvTimeoutError::Timeout) if !self.host.pulse.is_abandoned() => {}
                Err(_) => return Err(self.hangs()),
            }
        }
    }

    /// The script, if it is loaded by now.
    ///
    /// # Errors
    /// The loading itself where it is not over yet, or why the script cannot be loaded.
    pub fn try_wait(self) -> Result<Host, Tried> {
        match self.ready.try_recv() {
            Ok(loaded) => self.host.with(loaded).map_err(Tried::Failed),
            Err(TryRecvError::Empty) if !self.host.pulse.is_abandoned() => {
                Err(Tried::NotYet(Box::new(self)))
            }
            Err(_) => Err(Tried::Failed(self.hangs())),
        }
    }

    fn hangs(&self) -> anyhow::Error {
        let path = shown::path(&self.host.settings.path);
        anyhow!("{path}: loading hangs and cannot be stopped")
    }
}

impl Host {
    fn with(mut self, loaded: anyhow::Result<Loaded>) -> anyhow::Result<Self> {
        self.loaded = loaded?;
        Ok(self)
    }

    /// An empty batch, one that was used before where there is one.
    pub fn spare(&self) -> Box<Batch> {
        let mut batch = self.spare.try_recv().unwrap_or_default();
        batch.clear();
        batch
    }

    /// Hands a batch over. What is not taken is lost.
    pub fn batch(&self, batch: Box<Batch>) -> Sent {
        self.send(Job::Batch(batch), self.settings.policy)
    }

    /// Hands bytes of a taught protocol over.
    pub fn parse(&self, query: Query) -> Sent {
        self.send(Job::Parse(query), self.settings.policy)
    }

    /// Lets the script end, and waits until it has.
    pub fn exit(&self) {
        if self.send(Job::Exit, Policy::Wait) == Sent::Taken {
            while matches!(
                self.done.recv_timeout(LUA_LOOK),
                Err(RecvTimeoutError::Timeout)
            ) {
                if !self.is_there() {
                    break;
                }
            }
        }
        self.printer.close();
    }

    /// Lets the script end when it has done what is queued, and does not wait.
    pub fn retire(self: Arc<Self>) {
        let ends = move || self.exit();
        // Without a thread the queue closes with the host, which ends the script without its last call.
        let _ = thread::Builder::new()
            .name("lua exit".to_owned())
            .spawn(ends);
    }

    /// Whether the script can still be run: it has not said all, after which the queue may still take what is never done, and
    /// its thread was not given up, which is told once.
    pub fn is_there(&self) -> bool {
        if self.pulse.is_abandoned() && self.pulse.is_first_to_ask() {
            self.printer.close();
            let path = shown::path(&self.settings.path);
            (self.settings.tell)(&format!(
                "{path}: the script hangs in a call that cannot be stopped: it is switched off, the run goes on without it"
            ));
        }
        let has_ended = matches!(self.done.try_recv(), Err(TryRecvError::Disconnected));
        !has_ended && !self.pulse.is_abandoned()
    }

    fn send(&self, mut job: Job, policy: Policy) -> Sent {
        loop {
            if !self.is_there() {
                return Sent::Gone;
            }
            let sent = match policy {
                Policy::Wait => self.jobs.send_timeout(job, LUA_LOOK),
                Policy::Drop => self.jobs.try_send(job).map_err(|error| match error {
                    TrySendError::Full(job) => SendTimeoutError::Timeout(job),
                    TrySendError::Disconnected(job) => SendTimeoutError::Disconnected(job),
                }),
            };
            match sent {
                Ok(()) => return Sent::Taken,
                Err(SendTimeoutError::Disconnected(_)) => return Sent::Gone,
                Err(SendTimeoutError::Timeout(_)) if policy == Policy::Drop => return Sent::Full,
                Err(SendTimeoutError::Timeout(again)) => job = again,
            }
        }
    }
}

/// What the script's thread has.
struct Seat {
    settings: Settings,
    pulse: Arc<Pulse>,
    printer: Arc<Printer>,
    todo: Receiver<Job>,
    back: Sender<Box<Batch>>,
    /// Dropped when the script has said all: who waits need not wait until its memory is given back.
    alive: Option<Sender<()>>,
}

impl Seat {
    fn run(mut self, ready: &Sender<anyhow::Result<Loaded>>) {
        let (pulse, printer) = (Arc::clone(&self.pulse), Arc::clone(&self.printer));
        let mut vm = match Vm::load(self.settings.clone(), pulse, printer) {
            Ok(vm) => vm,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let (hooks, plans) = (vm.hooks(), vm.plans());
        if ready.send(Ok(Loaded { hooks, plans })).is_err() {
            return;
        }
        let over = self.work(&mut vm);
        if self.pulse.is_abandoned() {
            return;
        }
        if let Some(over) = over {
            self.tell(over);
        }
        if vm.errors() > 1 {
            let path = shown::path(&self.settings.path);
            (self.settings.tell)(&format!("{path}: {} errors in all", vm.errors()));
        }
        self.printer.close();
        self.alive = None;
    }

    /// Does jobs until the last one, or until the script is over.
    fn work(&self, vm: &mut Vm) -> Option<Over> {
        for job in &self.todo {
            let done = match job {
                Job::Batch(batch) => self.batch(vm, batch),
                Job::Parse(query) => query.answer(vm),
                Job::Exit => return vm.exit().err(),
            };
            if done.is_err() || self.pulse.is_abandoned() {
                return done.err();
            }
        }
        None
    }

    fn batch(&self, vm: &mut Vm, batch: Box<Batch>) -> Result<(), Over> {
        let reached = batch.reached;
        let batch = vm.batch(batch)?;
        self.printer.reached(reached);
        if self.todo.is_empty() {
            self.printer.flush();
        }
        // Where there are spares enough, the batch is dropped.
        let _ = self.back.try_send(batch);
        Ok(())
    }

    fn tell(&self, over: Over) {
        let path = shown::path(&self.settings.path);
        let what = match over {
            Over::Exit => "the script ended with os.exit; the run goes on without it",
            Over::Time => {
                "a call took longer than it may (1 s; on_exit 10 s): the script is switched off, the run goes on without it"
            }
            Over::Memory => {
                "the script wants more memory than it may have: it is switched off, the run goes on without it"
            }
        };
        (self.settings.tell)(&format!("{path}: {what}"));
    }
}
