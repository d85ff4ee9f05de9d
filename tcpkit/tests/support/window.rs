//! A real terminal, tmux's, that shows `tcpkit top`; it is asked for what it shows, and whether it was given back.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::program;

/// A window of a terminal that runs a program, and tells how it ended.
pub struct Window {
    socket: String,
    folder: PathBuf,
}

impl Window {
    /// Runs `tcpkit top` with these arguments.
    pub fn open(name: &str, width: u16, height: u16, args: &str) -> Self {
        Self::open_by("", name, (width, height), args)
    }

    /// As [`Window::open`], by a command that becomes another.
    pub fn open_by(by: &str, name: &str, (width, height): (u16, u16), args: &str) -> Self {
        let socket = format!("tcpkit-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(&socket);
        std::fs::create_dir_all(&folder).unwrap();
        let window = Self { socket, folder };
        let line = format!(
            "stty -g >before; sh -c 'echo $$ >pid; exec {by} {} top {args}'; echo $? >status; stty -g >after; echo back; exec cat",
            program().display()
        );
        let size = [width.to_string(), height.to_string()];
        window.tmux(&["new-session", "-d", "-x", &size[0], "-y", &size[1], &line]);
        window
    }

    /// What tmux answers.
    pub fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-L", &self.socket])
            .args(args)
            .current_dir(&self.folder)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .output()
            .unwrap_or_else(|error| panic!("tmux: {error}; `cargo xtask test` installs it"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the window shows, once it shows a text and has not changed for a moment: it may be amid being drawn.
    pub fn wait_for(&self, text: &str) -> String {
        let begun = Instant::now();
        let mut last = String::new();
        loop {
            let shown = self.tmux(&["capture-pane", "-p"]);
            if shown.contains(text) && shown == last {
                return shown;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no `{text}` in\n{shown}"
            );
            last = shown;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the shell around the program noted.
    pub fn note(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// The terminal is as it was before.
    pub fn assert_given_back(&self, status: &str) {
        self.wait_for("back");
        assert_eq!(self.note("status"), status);
        assert_eq!(self.note("before"), self.note("after"));
        assert_eq!(
            self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])
                .trim(),
            "0 1"
        );
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
