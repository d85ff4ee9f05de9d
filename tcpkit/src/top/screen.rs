//! The terminal: taken for the picture, and given back however the program ends.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::os::fd::OwnedFd;
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

    fn join(&mut self) -> io::Result<()> {
        let joined = self.thread.take().map(JoinHandle::join);
        joined.map_or(Ok(()), |ended| {
            ended.unwrap_or_else(|_| Err(io::Error::other("the terminal view failed")))
        })
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
            if is_gone_after(LOOK) {
                break;
            }
            changed = event::poll(Duration::ZERO)?;
            if changed && act(&mut state, &event::read()?) == Flow::Quit {
                break;
            }
        }
        Ok(())
    }
}

/// Waits for a key or a signal, for `time` at most. Tells whether the terminal is gone: its window was closed, or the
/// connection to it. The library waits too, but reads from such a terminal for ever.
fn is_gone_after(time: Duration) -> bool {
    let stdout = rustix::stdio::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::IN)];
    let time = Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    };
    let polled = poll(&mut asked, Some(&time));
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
        ratatui::restore();
        let _ = rustix::stdio::dup2_stderr(&self.error);
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
