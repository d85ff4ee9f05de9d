//! Live is what a file of the same traffic gives, and its times are tcpdump's.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::ENGINES;
use crate::clients;
use crate::net::{Namespace, Pair, SERVER_IF, SERVER_V4, privileged};
use crate::run::Run;
use crate::servers::{Redis, scratch};
use crate::support::{Report, wait_for};

/// tcpdump, writing what a server's interface sees, and its file.
struct Tcpdump(Child, PathBuf);

/// Where the datagram goes that ends a recording, and what it holds.
const LAST: (&str, u16) = (SERVER_V4, 9);
const MARK: &[u8] = b"tcpkit: the end of this";

/// Whether these bytes are among the last of a file.
fn ends_with(file: &Path, bytes: &[u8]) -> bool {
    let mut file = std::fs::File::open(file).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))
        .unwrap();
    let mut last = Vec::new();
    file.read_to_end(&mut last).unwrap();
    last.windows(bytes.len()).any(|part| part == bytes)
}

impl Tcpdump {
    fn start(namespace: &Namespace, file: &Path, snaplen: &str) -> Self {
        let mut command = namespace.command("tcpdump");
        command.args([
            "-i",
            SERVER_IF,
            "-s",
            snaplen,
            "-B",
            "524288",
            "--time-stamp-precision=nano",
        ]);
        command
            .args(["-Z", "root", "-U", "-w"])
            .arg(file)
            .arg(format!("tcp port 6379 or udp port {}", LAST.1));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            assert!(said.read_line(&mut line).unwrap() > 0, "{line}");
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self(child, file.to_owned())
    }

    /// Ends it once it has written all that came before: it hands blocks over once a second, or when it has a processor. Thus
    /// a datagram of the client's that it has written is the last frame of interest.
    fn stop(mut self, client: &Namespace) {
        client.within(|| {
            wait_for("tcpdump writes nothing", || {
                // Nobody listens there, which the client may be told.
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(MARK, LAST).unwrap();
                ends_with(&self.1, MARK)
            });
        });
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_live_run_finds_what_a_file_of_the_same_frames_gives() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let folder = scratch("same");
        let (theirs, ours) = (folder.join("theirs.pcap"), folder.join("ours.pcapng"));
        let saved = ours.to_str().unwrap().to_owned();
        let tcpdump = Tcpdump::start(&pair.server, &theirs, "0");
        let args = [
            "-i", SERVER_IF, "-p", "6379", "--format", "json", "-w", &saved,
        ];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        clients::redis(&pair.client, SERVER_V4, 1000, 1, 10);
        clients::redis(&pair.client, SERVER_V4, 1000, 64, 2000);
        let live = run.stop().report();
        tcpdump.stop(&pair.client);
        assert!(live.exchanges.len() >= 4000);
        for file in [&theirs, &ours] {
            let read = Report::of(file, &["-p".to_owned(), "6379".to_owned()]);
            assert_eq!(
                read.exchanges.len(),
                live.exchanges.len(),
                "{}",
                file.display()
            );
            let pairs = sorted(&live).into_iter().zip(sorted(&read));
            for (live, read) in pairs {
                assert_eq!(told(live), told(read), "{}", file.display());
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// By connection, and within one as told: in its requests' order. Not by time: where two processors take a connection's
/// segments, tcpdump's stamps and ours may differ about which came first.
fn sorted(report: &Report) -> Vec<&Value> {
    let mut all: Vec<_> = report.exchanges.iter().collect();
    all.sort_by_key(|one| one["client"]["port"].as_u64());
    all
}

/// Everything but frame numbers and what depends on who stamped the frame: which test and file share to the
/// nanosecond only where they saw the same stamp.
fn told(exchange: &Value) -> (Vec<String>, bool) {
    let fields = [
        "client",
        "command",
        "text",
        "request_bytes",
        "response_bytes",
        "status",
        "confidence",
        "cut",
    ];
    let values = fields.map(|field| exchange[field].to_string()).to_vec();
    (values, exchange["latency_ns"].is_u64())
}

/// Requests that are held up.
const HELD: usize = 5;

#[test]
fn a_held_up_request_shows_the_time_that_tcpdump_shows() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let folder = scratch("held");
        let file = folder.join("held.pcap");
        let tcpdump = Tcpdump::start(&pair.server, &file, "0");
        let args = ["-i", SERVER_IF, "-p", "6379", "--format", "json"];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        redis.ask(&["SLOWLOG", "RESET"]);
        for _ in 0..HELD {
            let mut sleep = pair.client.command("redis-cli");
            sleep.args(["-h", SERVER_V4, "DEBUG", "SLEEP", "0.05"]);
            assert!(sleep.output().unwrap().status.success());
        }
        let live = run.stop().report();
        tcpdump.stop(&pair.client);
        let held = live.exchanges.iter();
        let held: Vec<_> = held.filter(|one| one["command"] == "DEBUG").collect();
        let latencies: Vec<u64> = held
            .iter()
            .map(|one| one["latency_ns"].as_u64().unwrap())
            .collect();
        assert_eq!(latencies.len(), HELD);
        let ports = held
            .iter()
            .map(|one| one["client"]["port"].as_u64().unwrap());
        let seen: Vec<u64> = ports.map(|port| between_frames(&file, port)).collect();
        // A processor that is taken away between the two stamps of a frame is neither's doing: it makes one differ, not most.
        let apart = latencies.iter().zip(&seen);
        let mut apart: Vec<u64> = apart.map(|(ours, theirs)| ours.abs_diff(*theirs)).collect();
        apart.sort_unstable();
        assert!(
            apart[HELD / 2] < 200_000,
            "{latencies:?} ns, tcpdump says {seen:?}"
        );
        let slow = slow_log(&redis);
        assert_eq!(slow.len(), HELD);
        assert!(
            slow.iter()
                .zip(&latencies)
                .all(|(slow, latency)| *slow >= 50_000_000 && latency >= slow),
            "{latencies:?} ns, the server says {slow:?}"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// Nanoseconds between the last frame with a request and the first with its response, as tcpdump prints them.
fn between_frames(file: &Path, client: u64) -> u64 {
    let mut command = Command::new("tcpdump");
    command
        .arg("-r")
        .arg(file)
        .args(["-nn", "-tt", "--time-stamp-precision=nano"]);
    let output = command.arg(format!("tcp port {client}")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let with_payload = text
        .lines()
        .filter(|line| !line.contains("length 0") && line.contains("length "));
    // redis-cli asks for the documentation of commands where it is interactive alone: one request, one response.
    let times: Vec<(u64, bool)> = with_payload
        .map(|line| (nanoseconds(line), line.contains(&format!(".{client} > "))))
        .collect();
    assert_eq!(times.len(), 2, "{text}");
    assert!(times[0].1 && !times[1].1, "{text}");
    times[1].0 - times[0].0
}

fn nanoseconds(line: &str) -> u64 {
    let (seconds, rest) = line.split_once('.').unwrap();
    let fraction = rest.split(' ').next().unwrap();
    seconds.parse::<u64>().unwrap() * 1_000_000_000 + fraction.parse::<u64>().unwrap()
}

/// How long the requests took that were held up, by the slow log, in nanoseconds; the server counts microseconds.
fn slow_log(redis: &Redis) -> Vec<u64> {
    let log = redis.ask(&["--json", "SLOWLOG", "GET", "-1"]);
    let entries: Value = serde_json::from_str(&log).unwrap();
    let entries = entries.as_array().unwrap().iter();
    // The latest comes first; a busy machine makes others slow.
    let held = entries.filter(|entry| entry[3][0] == "DEBUG").rev();
    held.map(|entry| entry[2].as_u64().unwrap() * 1000)
        .collect()
}

/// What was asked is told though nothing more is captured: time goes on by the clock.
#[test]
fn time_goes_on_when_nothing_arrives() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let args = ["-i", SERVER_IF, "-p", "6379", "--format", "json"];
        let more = ["--timeout", "1s", "--interval", "1s", "--duration", "6s"];
        let run = Run::start(&pair.server, &[engine, &args[..], &more].concat());
        // The answer waits for longer than --timeout.
        let mut wait = pair.client.command("redis-cli");
        wait.args(["-h", SERVER_V4, "DEBUG", "SLEEP", "20"]);
        let mut waiting = wait.stdout(Stdio::null()).spawn().unwrap();
        let ended = run.wait();
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
        let report = ended.report();
        let unanswered = report.unanswered.first().unwrap();
        assert_eq!(unanswered["why"], "timeout");
        let waited = unanswered["waited_ns"].as_u64().unwrap();
        assert!((1_000_000_000..3_000_000_000).contains(&waited), "{waited}");
        let intervals = ended.output.matches("\"type\":\"interval\"").count();
        assert!(intervals >= 2, "{}", ended.output);
    }
}

/// Datagrams in a recording that only ended it.
fn marks(file: &Path) -> u64 {
    let mut command = Command::new("tcpdump");
    let output = command.arg("-r").arg(file).args(["-nn", "udp"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().count() as u64
}

/// A buffer made tiny: what was handed on and what is told as lost are all that there was.
#[test]
fn reported_loss_is_real_loss() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let folder = scratch("loss");
        let (theirs, ours) = (folder.join("theirs.pcap"), folder.join("ours.pcap"));
        let saved = ours.to_str().unwrap().to_owned();
        // Headers alone, so that tcpdump loses none.
        let tcpdump = Tcpdump::start(&pair.server, &theirs, "96");
        let args = [
            "-i", SERVER_IF, "-p", "6379", "--format", "json", "-B", "512", "-w", &saved,
        ];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        for _ in 0..5 {
            clients::redis(&pair.client, SERVER_V4, 200, 4, 1_000_000);
        }
        redis.wait_for_quiet();
        let ended = run.stop();
        tcpdump.stop(&pair.client);
        let live = &ended.report().summary["live"];
        let lost = live["lost"].as_object().unwrap().values();
        let lost: u64 = lost.map(|count| count.as_u64().unwrap()).sum();
        assert!(lost > 0, "{live}");
        assert!(ended.said.contains("lost"), "{}", ended.said);
        assert_eq!(
            live["rings"].as_array().unwrap().is_empty(),
            engine.contains(&"pcap"),
            "{live}"
        );
        let read = Report::of(
            &theirs,
            &["-p".to_owned(), "6379".to_owned(), "-q".to_owned()],
        );
        let all = read.summary["capture"]["frames"].as_u64().unwrap() - marks(&theirs);
        assert_eq!(live["delivered"].as_u64().unwrap() + lost, all, "{live}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
