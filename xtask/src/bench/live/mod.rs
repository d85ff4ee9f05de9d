//! The monitoring tax: what a monitor costs the service that it watches.
//!
//! redis-server on one CPU, redis-benchmark and the monitor on another, over a veth pair between two namespaces.
//! Every configuration runs in every round, each just after an unmonitored run, since the machine's speed may change from
//! one minute to the next; what counts is the median of the ratios of the two: CPU time a request of server, client and
//! monitor together, and requests a second.

mod place;
mod process;

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Report;
use crate::shell;
use place::{INTERFACE, PORT, Place};
use process::{Monitor, Spent};

/// Rounds that count.
const ROUNDS: usize = 9;

/// How often redis-benchmark asks before it waits for answers, and how many requests that makes.
const LOADS: [(u32, u64); 2] = [(1, 80_000), (16, 600_000)];

/// The most CPU time a request, in units of tcpdump's in the same rounds.
const OF_TCPDUMP: f64 = 1.05;

/// A port that nobody uses.
const OTHER_PORT: u16 = PORT + 1;

/// The most of a CPU that an idle tcpkit may take.
const IDLE: f64 = 0.005;

/// A monitor: its name, its program and arguments.
struct Config {
    name: &'static str,
    command: fn() -> Command,
    role: Role,
}

/// What a configuration is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Others are compared with it.
    Reference,
    /// Its own account is compared with the server's, and its cost with tcpdump's.
    Measured,
}

/// Each is compared with tcpdump, which is the first. An XDP program costs something on veth by its being there (Linux copies
/// frames for it): the one that keeps no frame says how much.
const CONFIGS: &[Config] = &[
    Config {
        name: "tcpdump -w /dev/null",
        command: tcpdump,
        role: Role::Reference,
    },
    Config {
        name: "tcpkit -q --xdp, another port",
        command: || tcpkit(OTHER_PORT, &["--xdp"]),
        role: Role::Reference,
    },
    Config {
        name: "tcpkit -q",
        command: || tcpkit(PORT, &["--backend", "ebpf"]),
        role: Role::Measured,
    },
    Config {
        name: "tcpkit -q --xdp",
        command: || tcpkit(PORT, &["--xdp"]),
        role: Role::Measured,
    },
    Config {
        name: "tcpkit -q --backend pcap",
        command: || tcpkit(PORT, &["--backend", "pcap"]),
        role: Role::Measured,
    },
];

/// Ratios of one configuration to the unmonitored run, a round each.
#[derive(Default)]
struct Ratios {
    cpu: Vec<f64>,
    speed: Vec<f64>,
}

/// Measures every configuration under every load, and an idle tcpkit.
///
/// # Errors
/// When something cannot be run, frames were lost or requests not paired.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let (rounds, scale) = if quick { (1, 10) } else { (ROUNDS, 1) };
    let place = Place::new()?;
    let mut ratios: Vec<[Ratios; LOADS.len()]> =
        CONFIGS.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (config, ratios) in CONFIGS.iter().zip(&mut ratios) {
            let base = LOADS.map(|load| place.bench(None, load, scale));
            let spent = monitored(&place, config, scale)?;
            for ((spent, base), ratios) in spent.iter().zip(&base).zip(ratios) {
                let base = base.as_ref().ok().context("the unmonitored run failed")?;
                ratios.cpu.push(spent.cpu / base.cpu);
                ratios.speed.push(spent.speed / base.speed);
            }
        }
    }
    tell(report, &ratios, rounds);
    idle(report, &place)
}

/// Runs every load beside a monitor.
fn monitored(place: &Place, config: &Config, scale: u64) -> Result<Vec<Spent>> {
    place.redis.forget()?;
    let monitor = Monitor::start(&place.namespace, (config.command)())?;
    let spent: Result<Vec<Spent>> = LOADS
        .iter()
        .map(|load| place.bench(Some(monitor.pid()), *load, scale))
        .collect();
    let said = monitor.stop()?;
    if config.role == Role::Measured {
        all_were_paired(&said, place.redis.calls()?)?;
    }
    spent
}

/// What the summary says beside what the server counted.
fn all_were_paired(said: &str, calls: u64) -> Result<()> {
    let summary: Value = serde_json::from_str(said.lines().last().context("no summary")?)?;
    let ports = summary["ports"].as_array().context("no ports")?;
    let commands = ports
        .iter()
        .flat_map(|port| port["commands"].as_array().into_iter().flatten());
    let sets = commands.filter(|command| command["command"] == "SET");
    let paired: u64 = sets
        .filter_map(|command| command["requests"].as_u64())
        .sum();
    let lost = &summary["capture"]["dropped"];
    ensure!(
        paired == calls && lost == 0,
        "{paired} of {calls} requests were paired, {lost} frames lost"
    );
    Ok(())
}

fn tell(report: &mut Report, ratios: &[[Ratios; LOADS.len()]], rounds: usize) {
    report.line("\n## Monitoring tax\n");
    report.line(&format!(
        "redis at full speed over veth, median of {rounds} rounds, ratios to the unmonitored run just before; no frame \
         lost, every request paired\n"
    ));
    report
        .line("| monitor | -P | CPU a request (min, max) | requests a second |\n|---|---|---|---|");
    for (config, ratios) in CONFIGS.iter().zip(ratios) {
        for ((depth, _), ratios) in LOADS.iter().zip(ratios) {
            let (least, most) = extremes(&ratios.cpu);
            report.line(&format!(
                "| `{}` | {depth} | {:.3} ({least:.3}, {most:.3}) | {:.3} |",
                config.name,
                median(&ratios.cpu),
                median(&ratios.speed)
            ));
        }
    }
    report.line("\n| ratio | measured | at most | |\n|---|---|---|---|");
    let Some((tcpdump, others)) = ratios.split_first() else {
        return;
    };
    let others = CONFIGS.iter().skip(1).zip(others);
    for (config, ratios) in others.filter(|(config, _)| config.role == Role::Measured) {
        for (((depth, _), ours), theirs) in LOADS.iter().zip(ratios).zip(tcpdump) {
            let ratio = median(&ours.cpu) / median(&theirs.cpu);
            let name = format!("`{}` to tcpdump, CPU a request at -P {depth}", config.name);
            report.verdict(&name, ratio, OF_TCPDUMP);
        }
    }
}

/// An idle tcpkit, in percent of a CPU.
fn idle(report: &mut Report, place: &Place) -> Result<()> {
    let time = Duration::from_secs(10);
    for config in CONFIGS
        .iter()
        .filter(|config| config.role == Role::Measured)
    {
        let monitor = Monitor::start(&place.namespace, (config.command)())?;
        let before = process::cpu(monitor.pid());
        std::thread::sleep(time);
        let used = process::cpu(monitor.pid()) - before;
        monitor.stop()?;
        let name = format!("`{}` idle, % of a CPU", config.name);
        report.verdict(&name, used / time.as_secs_f64() * 100.0, IDLE * 100.0);
    }
    Ok(())
}

fn tcpdump() -> Command {
    let mut command = Command::new("tcpdump");
    command.args(["-i", INTERFACE, "-n", "-s", "0", "-w", "/dev/null"]);
    command
        .arg(format!("tcp port {PORT}"))
        .stdout(Stdio::null());
    command
}

fn tcpkit(port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(shell::target().join("release/tcpkit"));
    command.args([
        "-i",
        INTERFACE,
        "-p",
        &format!("{port}=redis"),
        "-q",
        "--format",
        "json",
    ]);
    command.args(args).stdout(Stdio::piped());
    command
}

/// The middle one; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn extremes(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    (least, most)
}
