//! tcpkit, capturing in a namespace until it is told to end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::net::Namespace;
use crate::support::{Report, comes_true, program};

/// A running tcpkit.
pub struct Run {
    child: Child,
    output: Option<JoinHandle<String>>,
    said: Arc<Mutex<String>>,
    saying: Option<JoinHandle<()>>,
}

/// How it ended.
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
    pub said: String,
    pub took: Duration,
}

/// A kernel buffer, in KiB, that holds what a test sends while tcpkit waits for a processor: tests run side by side, in a
/// debug build, and what they compare is what was seen, not who was scheduled.
const ROOM: [&str; 2] = ["-B", "65536"];

impl Run {
    /// Starts tcpkit and waits until it captures. Its report is read as it comes. Where `args` do not size the kernel's
    /// buffer, it has [`ROOM`].
    pub fn start(namespace: &Namespace, args: &[&str]) -> Self {
        let room = if args.contains(&"-B") { &[][..] } else { &ROOM };
        Self::start_as_given(namespace, &[args, room].concat())
    }

    /// As [`Run::start`], with a kernel buffer of the default size where `args` give none.
    pub fn start_as_given(namespace: &Namespace, args: &[&str]) -> Self {
        let (mut run, stdout) = Self::unread(namespace, args);
        run.read(stdout);
        run
    }

    /// As [`Run::start_as_given`], but nobody reads the report yet.
    pub fn unread(namespace: &Namespace, args: &[&str]) -> (Self, ChildStdout) {
        let mut command = namespace.command(&program().to_string_lossy());
        command.args(args);
        Self::begin(command)
    }

    /// As [`Run::unread`], of a command that becomes tcpkit.
    pub fn begin(mut command: Command) -> (Self, ChildStdout) {
        command.env("TZ", "UTC");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        while !said.lock().unwrap().contains("capturing with ") {
            let read = stderr.read_line(&mut said.lock().unwrap()).unwrap();
            assert!(read > 0, "{command:?}: {}", said.lock().unwrap());
        }
        let more = Arc::clone(&said);
        let saying = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                more.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let run = Self {
            child,
            output: None,
            said,
            saying: Some(saying),
        };
        (run, stdout)
    }

    /// Reads the report from now on.
    pub fn read(&mut self, mut stdout: ChildStdout) {
        self.output = Some(std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        }));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something on standard error.
    pub fn wait_until_said(&self, what: &str) {
        let has_said = || self.said().contains(what);
        assert!(comes_true(has_said), "{what}: {}", self.said());
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it by SIGTERM.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it ends.
    pub fn wait(mut self) -> Ended {
        let begun = Instant::now();
        let status = self.child.wait().unwrap();
        let took = begun.elapsed();
        let output = self.output.take().map(|thread| thread.join().unwrap());
        self.saying.take().unwrap().join().unwrap();
        Ended {
            status,
            output: output.unwrap_or_default(),
            said: self.said(),
            took,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Its report, of a run that was asked for JSON.
    pub fn report(&self) -> Report {
        assert!(self.status.success(), "{}: {}", self.status, self.said);
        Report::parse(&self.output).unwrap_or_else(|error| panic!("{error}\n{}", self.said))
    }
}

/// Exchanges of a command on a port, as the summary counts them.
pub fn requests(summary: &Value, port: u16, command: &str) -> u64 {
    let ports = summary["ports"].as_array().unwrap().iter();
    let commands = ports
        .filter(|entry| entry["port"] == port)
        .flat_map(|entry| entry["commands"].as_array().unwrap());
    commands
        .filter(|entry| entry["command"] == command)
        .map(|entry| entry["requests"].as_u64().unwrap())
        .sum()
}

/// That every exchange of the summary is exact, and nothing was lost, guessed or left over.
pub fn assert_exact(summary: &Value, what: &str) {
    for port in summary["ports"].as_array().unwrap() {
        for count in ["resynced", "ambiguous", "orphans", "late", "unanswered"] {
            assert_eq!(port[count], 0, "{what}: {count}: {summary}");
        }
    }
    for count in ["dropped", "gaps", "malformed", "joined", "in_flight"] {
        assert_eq!(summary["capture"][count], 0, "{what}: {count}: {summary}");
    }
    assert_eq!(
        summary["live"]["delivered"], summary["capture"]["frames"],
        "{what}"
    );
}
