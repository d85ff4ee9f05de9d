//! A server of our own: started for one recording, ended by its process id.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running server; ends with its owner.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts a server and waits until it is `ready`. What it says goes to `log` in its folder.
    ///
    /// # Errors
    /// When it cannot be started, ends at once, or is not ready within ten seconds.
    pub fn start(command: &mut Command, folder: &Path, ready: impl Fn() -> bool) -> Result<Self> {
        let log = File::create(folder.join("log"))?;
        command.current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self { child };
        let begin = Instant::now();
        while !ready() {
            if let Some(status) = server.child.try_wait()? {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                bail!("{command:?} ended: {status}\n{log}");
            }
            if begin.elapsed() > Duration::from_secs(10) {
                bail!("{command:?} does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
