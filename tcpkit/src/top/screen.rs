//! The terminal: taken for the picture, and given back however the program ends.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::draw;
use super::feed::{Feed, Questions};
use super::state::{Flow, State};

/// Keys and signals are looked for so often.
const LOOK: Duration = Duration::from_millis(50);

/// The picture, drawn by a thread of its own until the user ends it or `stop` is set.
#[derive(Debug)]
pub struct View {
    stop: Arc<AtomicBool>,
    /// The terminal is gone.
    gone: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Says where standard output is no terminal.
///
/// # Errors
/// A sentence for the user.
pub fn check_terminal() -> Result<(), String> {
    match io::stdout().is_terminal() {
        true => Ok(()),
        false => Err(
            "top draws on a terminal, and standard output is none: --interval prints lines, -P serves figures"
                .to_owned(),
        ),
    }
}

impl View {
    /// Takes the terminal, and draws what the feed tells. Leaving the picture sets `stop`.
    ///
    /// # Errors
    /// When the terminal cannot be had, or a thread not be started.
    pub fn start(feed: Feed, title: String, stop: &Arc<AtomicBool>) -> io::Result<Self> {
        let questions = feed.start()?;
        let screen = Screen::take()?;
        let gone = watch(stop)?;
        let stopped = Arc::clone(stop);
        let thread = std::thread::Builder::new()
            .name("tcpkit-top".to_owned())
            .spawn(move || {
                let shown = screen.show(&questions, State::new(title), &stopped);
                stopped.store(true, Ordering::Relaxed);
                shown
            })?;
        Ok(Self {
            stop: Arc::clone(stop),
            gone,
            thread: Some(thread),
        })
    }

    /// Waits until the user leaves the picture.
    ///
    /// # Errors
    /// When the terminal fails.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    /// The library reads for ever from a terminal that is gone: then its thread is left behind.
    fn join(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        while !thread.is_finished() {
            if self.gone.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        let ended = thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the terminal view failed")));
        // That a terminal which is gone cannot be drawn on is no failure.
        match is_gone(rustix::stdio::stdout(), Some(&Timespec::default())) {
            true => Ok(()),
            false => ended,
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Who drops it has an error of their own to tell.
        let _ = self.join();
    }
}

/// The terminal while it is taken; dropped, it is as it was.
struct Screen {
    terminal: DefaultTerminal,
    /// What is written to standard error meanwhile, by whomever: it would tear the picture.
    said: Receiver<String>,
    /// The standard error that there was.
    error: OwnedFd,
}

impl Screen {
    /// Also after a panic the terminal is given back: that is a hook of the library.
    fn take() -> io::Result<Self> {
        let error = rustix::io::dup(rustix::stdio::stderr())?;
        let terminal = ratatui::try_init()?;
        let said = match listen() {
            Ok(said) => said,
            Err(failed) => {
                ratatui::restore();
                return Err(failed);
            }
        };
        Ok(Self {
            terminal,
            said,
            error,
        })
    }

    fn show(
        mut self,
        questions: &Questions,
        mut state: State,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let mut changed = true;
        while !stop.load(Ordering::Relaxed) {
            for told in questions.told.try_iter() {
                state.take(told);
                changed = true;
            }
            for notice in self.said.try_iter() {
                state.tell(notice);
                changed = true;
            }
            if changed {
                self.terminal.draw(|frame| draw(&state, frame))?;
            }
            changed = event::poll(LOOK)?;
            if changed && act(&mut state, &event::read()?) == Flow::Quit {
                break;
            }
        }
        Ok(())
    }
}

/// Sets `stop`, and what is returned, once the terminal is gone: its window was closed, or the connection to it.
fn watch(stop: &Arc<AtomicBool>) -> io::Result<Arc<AtomicBool>> {
    let gone = Arc::new(AtomicBool::new(false));
    let (stop, told) = (Arc::clone(stop), Arc::clone(&gone));
    std::thread::Builder::new()
        .name("tcpkit-terminal".to_owned())
        .spawn(move || {
            while !is_gone(rustix::stdio::stdout(), None) {}
            told.store(true, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        })?;
    Ok(gone)
}

/// Whether a terminal is gone; waits for that, until there is a signal, or for so long at most.
fn is_gone(terminal: impl AsFd, wait: Option<&Timespec>) -> bool {
    let mut asked = [PollFd::new(&terminal, PollFlags::empty())];
    let polled = poll(&mut asked, wait);
    polled.is_ok()
        && asked[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR)
}

/// What the terminal tells. It also tells that its size has changed: then it is drawn anew.
fn act(state: &mut State, event: &Event) -> Flow {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => state.key(*key),
        _ => Flow::Go,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The library tells on standard error what it cannot restore, and panics where that is gone with the terminal.
        let nobody = is_gone(&self.error, Some(&Timespec::default()))
            .then(|| File::options().write(true).open("/dev/null"));
        let _ = match nobody {
            Some(Ok(nobody)) => rustix::stdio::dup2_stderr(&nobody),
            _ => rustix::stdio::dup2_stderr(&self.error),
        };
        ratatui::restore();
    }
}

/// Takes standard error, whose lines come out of the receiver. A reader that is slow keeps nobody waiting: lines are
/// few, and none is longer than what is read at once.
fn listen() -> io::Result<Receiver<String>> {
    let (read, write) = rustix::pipe::pipe()?;
    rustix::stdio::dup2_stderr(&write)?;
    let (lines, said) = channel();
    std::thread::Builder::new()
        .name("tcpkit-notices".to_owned())
        .spawn(move || {
            let reader = BufReader::new(File::from(read));
            for line in reader.lines().map_while(Result::ok) {
                let line = line.trim_start_matches("tcpkit: ").to_owned();
                if lines.send(line).is_err() {
                    return;
                }
            }
        })?;
    Ok(said)
}
