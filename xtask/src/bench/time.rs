//! One run of a program: how long it took, and how much processor time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From start to end.
    pub wall: Duration,
    /// In all its threads, user and system.
    pub cpu: Duration,
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
    let (status, cpu) = wait(child.id())?;
    let wall = begin.elapsed();
    if status != 0 {
        bail!("{command:?} failed with status {status:#x}");
    }
    Ok(Sample { wall, cpu })
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
    let (status, cpu) = wait(child.id())?;
    let wall = begin.elapsed();
    if status != 0 {
        bail!("{command:?} failed with status {status:#x}");
    }
    Ok((said, Sample { wall, cpu }))
}

/// The middle one, by each measure on its own.
pub fn median(samples: &[Sample]) -> Sample {
    let middle = |measure: fn(&Sample) -> Duration| {
        let mut values: Vec<Duration> = samples.iter().map(measure).collect();
        values.sort();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Sample {
        wall: middle(|sample| sample.wall),
        cpu: middle(|sample| sample.cpu),
    }
}

/// The least of all, by each measure on its own: what others use of the machine only adds to it.
pub fn least(samples: &[Sample]) -> Sample {
    let least = |measure: fn(&Sample) -> Duration| samples.iter().map(measure).min();
    Sample {
        wall: least(|sample| sample.wall).unwrap_or_default(),
        cpu: least(|sample| sample.cpu).unwrap_or_default(),
    }
}

/// Waits for a child: its raw status and the processor time that it used. The standard library waits
/// too, but does not say what the child used.
fn wait(pid: u32) -> Result<(i32, Duration)> {
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
    Ok((status, span(usage.ru_utime) + span(usage.ru_stime)))
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
    fn the_least_is_of_each_measure() {
        let sample = |wall, cpu| Sample {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
        };
        let least = least(&[sample(9, 1), sample(2, 5)]);
        assert_eq!(least.wall, Duration::from_millis(2));
        assert_eq!(least.cpu, Duration::from_millis(1));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let sample = |millis| Sample {
            wall: Duration::from_millis(millis),
            cpu: Duration::from_millis(10 - millis),
        };
        let middle = median(&[sample(9), sample(1), sample(2)]);
        assert_eq!(middle.wall, Duration::from_millis(2));
        assert_eq!(middle.cpu, Duration::from_millis(8));
    }
}
