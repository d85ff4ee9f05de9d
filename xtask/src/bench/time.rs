//! One run of a program: how long it took, and how much processor time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From start to end.
    pub wall: Duration,
    /// In all its threads, user and system.
    pub cpu: Duration,
    /// The most memory that was resident, in bytes.
    pub resident: u64,
}

/// Runs a program to its end, its output thrown away.
///
/// # Errors
/// When it cannot be started or fails.
pub fn sample(command: &mut Command) -> Result<Sample> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begin = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let used = wait(child.id())?;
    used.sample(begin.elapsed(), command)
}

/// Runs two programs at the same time, each as [`sample`] does: how long it took until both had ended, and what they
/// used together.
///
/// # Errors
/// As [`sample`].
pub fn sample_both(mut commands: [Command; 2]) -> Result<Sample> {
    let begin = Instant::now();
    let [first, second] = &mut commands;
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| sample(second));
        (sample(first), other.join())
    });
    let (first, second) = (first?, second.map_err(|_| anyhow!("a run panicked"))??);
    Ok(Sample {
        wall: begin.elapsed(),
        cpu: first.cpu + second.cpu,
        resident: first.resident + second.resident,
    })
}

/// As [`sample`], with what the program writes to standard output.
///
/// # Errors
/// As [`sample`].
pub fn sample_output(command: &mut Command) -> Result<(String, Sample)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    let used = wait(child.id())?;
    Ok((said, used.sample(begin.elapsed(), command)?))
}

/// The middle one, by each measure on its own.
pub fn median(samples: &[Sample]) -> Sample {
    each(samples, samples.len() / 2)
}

/// The least of all, by each measure on its own: what others use of the machine only adds to it.
pub fn least(samples: &[Sample]) -> Sample {
    each(samples, 0)
}

/// By each measure on its own, the one at `place` when they are sorted.
fn each(samples: &[Sample], place: usize) -> Sample {
    fn at<T: Ord + Copy + Default>(values: impl Iterator<Item = T>, place: usize) -> T {
        let mut values: Vec<T> = values.collect();
        values.sort();
        values.get(place).copied().unwrap_or_default()
    }
    Sample {
        wall: at(samples.iter().map(|sample| sample.wall), place),
        cpu: at(samples.iter().map(|sample| sample.cpu), place),
        resident: at(samples.iter().map(|sample| sample.resident), place),
    }
}

/// What a child used.
struct Used {
    /// As wait(2) gives it.
    status: i32,
    cpu: Duration,
    resident: u64,
}

impl Used {
    fn sample(&self, wall: Duration, command: &Command) -> Result<Sample> {
        if self.status != 0 {
            bail!("{command:?} failed with status {:#x}", self.status);
        }
        let (cpu, resident) = (self.cpu, self.resident);
        Ok(Sample {
            wall,
            cpu,
            resident,
        })
    }
}

/// Waits for a child. The standard library waits too, but does not say what the child used.
fn wait(pid: u32) -> Result<Used> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live variables of the right types; an all-zero rusage is valid.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(pid.cast_signed(), &raw mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    if waited != pid.cast_signed() {
        return Err(std::io::Error::last_os_error()).context("wait4");
    }
    let span = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(Used {
        status,
        cpu: span(usage.ru_utime) + span(usage.ru_stime),
        // In KiB (getrusage(2)).
        resident: usage.ru_maxrss.unsigned_abs() << 10,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_timed_and_a_failure_told() {
        let slept = sample(Command::new("sleep").arg("0.05")).unwrap();
        assert!(slept.wall >= Duration::from_millis(50));
        assert!(slept.cpu < slept.wall);
        assert!(sample(&mut Command::new("false")).is_err());
    }

    #[test]
    fn two_runs_overlap() {
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("0.4");
            command
        };
        let both = sample_both([sleep(), sleep()]).unwrap();
        assert!(both.wall >= Duration::from_millis(400));
        assert!(both.wall < Duration::from_millis(800), "{both:?}");
        assert!(both.resident > 1 << 20, "{both:?}");
        assert!(sample_both([sleep(), Command::new("false")]).is_err());
    }

    #[test]
    fn the_middle_and_the_least_are_of_each_measure() {
        let sample = |wall, cpu, resident| Sample {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
            resident,
        };
        let samples = [sample(9, 1, 5), sample(1, 9, 6), sample(2, 8, 4)];
        let middle = median(&samples);
        assert_eq!(middle.wall, Duration::from_millis(2));
        assert_eq!(middle.cpu, Duration::from_millis(8));
        assert_eq!(middle.resident, 5);
        let least = least(&samples);
        assert_eq!(least.wall, Duration::from_millis(1));
        assert_eq!(least.cpu, Duration::from_millis(1));
        assert_eq!(least.resident, 4);
    }
}
