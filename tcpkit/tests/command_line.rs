//! The command line as its users meet it: what goes wrong names the option, nothing that is read is lost, and a stream
//! that says nothing for a while keeps nobody waiting.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::cases::Case;
use support::pcap::Pcap;
use support::scratch::Scratch;
use support::served::free_port;
use support::{Report, say, tcpkit, wait_for};

impl Scratch {
    /// Runs tcpkit here.
    fn run(&self, args: &str) -> Output {
        let mut command = tcpkit();
        command.current_dir(&self.0).args(args.split_whitespace());
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }
}

fn demo() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/redis.pcap")).unwrap()
}

/// A folder with the demo's recording as `in.pcap`.
fn with_demo(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    std::fs::write(scratch.0.join("in.pcap"), demo()).unwrap();
    scratch
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn report(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Status 1 is what the machine cannot give, 2 what makes no sense.
#[test]
fn what_cannot_be_opened_names_the_option_and_prints_nothing() {
    let scratch = with_demo("opened");
    std::fs::write(scratch.0.join("empty"), "").unwrap();
    std::fs::write(scratch.0.join("text"), "no frames").unwrap();
    for (args, status, expected) in [
        ("-r none", 1, "--read none: there is no such file"),
        ("-r .", 1, "--read .: it is a directory"),
        ("-r empty", 1, "--read empty: the file is empty"),
        ("-r text", 1, "--read text: not a capture file"),
        ("-r -", 1, "--read standard input: there is nothing"),
        ("-r in.pcap -o none/out", 1, "--output none/out: No such"),
        ("-r in.pcap -o .", 1, "--output .: Is a directory"),
        ("-r in.pcap -w none/out", 1, "--write none/out: cannot be"),
        ("-r in.pcap -w .", 1, "--write .: cannot be written: Is a"),
        ("-r in.pcap -S none.lua", 1, "--script none.lua: No such"),
        ("-r in.pcap -S .", 1, "--script .: Is a directory"),
        ("-r in.pcap -S text", 2, "text:1: "),
        ("-r in.pcap -P 192.0.2.1:9", 1, "--stats 192.0.2.1:9: "),
        ("-r in.pcap no filter", 1, "the filter \"no filter\" cannot"),
        ("-r in.pcap -m ssh", 2, "--mode"),
    ] {
        let output = scratch.run(args);
        let said = errors(&output);
        assert!(said.contains(expected), "{args}: {said}");
        assert_eq!(output.status.code(), Some(status), "{args}");
        assert_eq!(report(&output), "", "{args}");
    }
}

/// Nor on another line: whatever a file is called, and whatever a script says.
#[test]
fn a_terminal_acts_on_nothing_of_a_notice() {
    let scratch = with_demo("notices");
    let named = "no\x1b[31mfile\nhere";
    let script = "function on_exit() error('bell\\7\\27[2J') end";
    std::fs::write(scratch.0.join("loud.lua"), script).unwrap();
    for args in [
        &["-r", named][..],
        &["-r", "in.pcap", "-S", named],
        &["-r", "in.pcap", "-S", "loud.lua"],
        &["-r", "in.pcap", "-o", &format!("{named}/x")],
        &["-r", "in.pcap", "-w", &format!("{named}/x")],
        &["-i", named, "-c", "1"],
        &["-m", named],
    ] {
        let mut command = tcpkit();
        let output = command.current_dir(&scratch.0).args(args).output().unwrap();
        let said = errors(&output);
        assert!(!said.is_empty(), "{args:?}");
        let acts = |byte: char| byte.is_control() && byte != '\n' && byte != '\t';
        assert!(!said.contains(acts), "{said:?}");
        if args.last() != Some(&"loud.lua") && args[0] == "-r" {
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains("no\\x1b[31mfile\\nhere"), "{said}");
        }
    }
}

#[test]
fn options_narrow_what_is_printed_and_what_is_counted() {
    let scratch = with_demo("narrow");
    for (args, lines, summary) in [
        ("", 14, "14 requests"),
        ("-t 50", 2, "slow 2"),
        ("-t 0.05s", 2, "slow 2"),
        ("--command get,DEBUG", 3, "14 requests"),
        ("--client 127.0.0.0/8", 14, "14 requests"),
        ("--client 127.0.0.2", 0, "14 requests"),
        ("--errors", 1, "14 requests"),
        ("-q", 0, "14 requests"),
        ("-c 2", 2, ": 2 requests"),
        ("--duration 0.1s", 8, ": 8 requests"),
        ("-p 6000-6400=redis", 14, "14 requests"),
        ("-p 53", 0, "port 53: 0 requests"),
        ("-s 127.0.0.1", 14, "14 requests"),
        ("-s 10.0.0.0/8", 0, ", 0 of monitored"),
        ("-m redis", 14, "14 requests"),
        ("-m dns", 0, "of no known protocol"),
        ("-u", 0, ", 0 of monitored"),
        ("tcp port 35444", 2, ": 2 requests"),
        ("-- not port 35444", 12, "12 requests"),
    ] {
        let output = scratch.run(&format!("-r in.pcap {args}"));
        let said = report(&output);
        let found = said.lines().filter(|line| line.contains(" => ")).count();
        assert_eq!(found, lines, "{args}: {said}");
        assert!(said.contains(summary), "{args}: {said}");
        assert_eq!(errors(&output), "", "{args}");
    }
}

/// Also where one frame holds the answers to many requests.
#[test]
fn a_run_ends_after_just_so_many_exchanges() {
    let case = Case::named("redis-benchmark-64");
    let mut args = case.args();
    args.extend(["-c", "5"].map(str::to_owned));
    let report = Report::of(&case.input(), &args);
    assert_eq!(report.exchanges.len(), 5);
    assert_eq!(report.summary["ports"][0]["requests"], 5);
}

#[test]
fn a_stream_tells_what_its_file_tells() {
    let scratch = with_demo("stream");
    let expected = report(&scratch.run("-r in.pcap"));
    let forms = [
        Some(demo()),
        packed("gzip", &scratch),
        packed("zstd", &scratch),
    ];
    for bytes in forms.into_iter().flatten() {
        // What a file is, its first bytes tell.
        std::fs::write(scratch.0.join("form.txt"), &bytes).unwrap();
        assert_eq!(report(&scratch.run("-r form.txt")), expected);
        let mut run = Fed::start(&scratch, "");
        run.feed(&bytes);
        drop(run.input);
        assert_eq!(report(&run.child.wait_with_output().unwrap()), expected);
    }
}

#[test]
fn a_file_that_may_not_be_read_is_told() {
    let scratch = with_demo("secret");
    let none = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(scratch.0.join("in.pcap"), none).unwrap();
    if File::open(scratch.0.join("in.pcap")).is_ok() {
        say("root may read every file: what others are told is not looked at");
        return;
    }
    let output = scratch.run("-r in.pcap");
    assert!(errors(&output).contains("--read in.pcap: this user may not read it"));
}

#[test]
fn what_the_run_reads_is_not_written_over() {
    let scratch = with_demo("over");
    let script = "function on_tick() end";
    std::fs::write(scratch.0.join("in.lua"), script).unwrap();
    std::fs::hard_link(scratch.0.join("in.pcap"), scratch.0.join("other.pcap")).unwrap();
    for (args, option) in [
        ("-r in.pcap -o in.pcap", "--output"),
        ("-r in.pcap -o ./other.pcap", "--output"),
        ("-r in.pcap -w other.pcap", "--write"),
        ("-r in.pcap -S in.lua -o in.lua", "--output"),
        ("-r in.pcap -S in.lua -w in.lua", "--write"),
    ] {
        let output = scratch.run(args);
        let said = errors(&output);
        assert!(
            said.contains(option) && said.contains("it is a file that the run reads"),
            "{args}: {said}"
        );
        assert_eq!(output.status.code(), Some(1), "{args}");
        assert_eq!(scratch.read("in.pcap"), demo(), "{args}");
        assert_eq!(scratch.read("in.lua"), script.as_bytes(), "{args}");
    }
}

#[test]
fn a_dash_is_standard_output() {
    let scratch = with_demo("dash");
    let plain = scratch.run("-r in.pcap");
    let dashed = scratch.run("-r in.pcap -o -");
    assert!(!scratch.0.join("-").exists());
    assert_eq!(report(&dashed), report(&plain));
    let saved = scratch.run("-r in.pcap -w - -m redis");
    std::fs::write(scratch.0.join("saved"), &saved.stdout).unwrap();
    assert_eq!(errors(&saved), report(&plain), "the report steps aside");
    assert_eq!(report(&scratch.run("-r saved")), report(&plain));
}

#[test]
fn what_cannot_be_written_is_told_by_its_name() {
    let scratch = with_demo("full");
    for args in ["-w /dev/full -q", "-o /dev/full"] {
        let output = scratch.run(&format!("-r in.pcap {args}"));
        let said = errors(&output);
        assert!(said.starts_with("tcpkit: /dev/full: "), "{args}: {said}");
        assert_eq!(said.matches("cannot be written").count(), 1, "{said}");
        assert_eq!(output.status.code(), Some(1), "{args}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = tcpkit();
    command
        .arg("-r")
        .arg(scratch.0.join("in.pcap"))
        .stdout(full);
    let output = command.output().unwrap();
    assert!(errors(&output).contains("standard output: the report cannot be written"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    for args in [
        &["-r", "demo/redis.pcap"][..],
        &["-r", "demo/redis.pcap", "-w", "-", "-o", "/dev/null"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = tcpkit();
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let output = command.args(args).stdout(writer).output().unwrap();
        assert_eq!(errors(&output), "", "{args:?}");
        assert!(output.status.success(), "{args:?}");
    }
}

fn packed(program: &str, scratch: &Scratch) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(["-c", "in.pcap"]).current_dir(&scratch.0);
    let output = command.output().ok();
    if output.is_none() {
        say(&format!(
            "{program} is not here: its files are not looked at"
        ));
    }
    output.map(|output| output.stdout)
}

#[test]
fn a_file_that_ends_short_is_read_to_its_end_and_told() {
    let scratch = Scratch::new("short");
    let recording = std::fs::read(Case::named("redis-benchmark-16").input()).unwrap();
    std::fs::write(scratch.0.join("in.pcap"), &recording).unwrap();
    let files = [
        Some(recording.clone()),
        packed("gzip", &scratch),
        packed("zstd", &scratch),
    ];
    for whole in files.into_iter().flatten() {
        // So little of it holds a frame or a block, and nothing.
        for (part, status) in [(whole.len() / 2 + 1, 0), (18, 1)] {
            std::fs::write(scratch.0.join("cut"), &whole[..part]).unwrap();
            let output = scratch.run("-r cut -q");
            let said = errors(&output);
            let is_told = said.contains("cut: ")
                && (said.contains("cut off") || said.contains("it ends within"));
            assert!(is_told, "{part}: {said}");
            let frames = !report(&output).is_empty() && !report(&output).starts_with("capture: 0 ");
            let nothing = said.contains("--read") || said.contains("nothing could be read");
            assert_ne!(frames, nothing, "{said}");
            if whole == recording {
                assert_eq!(output.status.code(), Some(status), "{said}");
            }
            assert_eq!(output.status.success(), frames, "{said}");
        }
    }
}

#[test]
fn shells_take_the_completions() {
    let scratch = Scratch::new("shells");
    for (shell, check) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
    ] {
        let output = scratch.run(&format!("completions {shell}"));
        assert!(output.status.success() && !output.stdout.is_empty());
        std::fs::write(scratch.0.join(shell), &output.stdout).unwrap();
        let mut command = Command::new(shell);
        command.args(check).arg(scratch.0.join(shell));
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{}", errors(&output)),
            Err(_) => say(&format!(
                "{shell} is not here: its completions are not looked at"
            )),
        }
    }
}

fn tshark(file: &Path, field: &str) -> Option<Vec<String>> {
    let mut tshark = Command::new("tshark");
    tshark
        .arg("-r")
        .arg(file)
        .args(["-T", "fields", "-e", field]);
    let Ok(output) = tshark.output() else {
        say("tshark is not here: what it reads back is not compared");
        return None;
    };
    assert!(output.status.success(), "{}", errors(&output));
    Some(report(&output).lines().map(str::to_owned).collect())
}

#[test]
fn tshark_reads_back_what_was_saved_in_each_form() {
    let scratch = with_demo("forms");
    let Some(expected) = tshark(&scratch.0.join("in.pcap"), "frame.time_epoch") else {
        return;
    };
    let run = |args: &str| {
        let output = scratch.run(&format!("-r in.pcap -q {args}"));
        assert!(output.status.success(), "{args}: {}", errors(&output));
        output.stdout
    };
    let times = |name: &str| tshark(&scratch.0.join(name), "frame.time_epoch").unwrap();
    for name in ["a.pcap", "a.pcapng", "a"] {
        run(&format!("-w {name}"));
        assert_eq!(times(name), expected, "{name}");
        let is_blocks = scratch.read(name).starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]);
        assert_eq!(is_blocks, name.ends_with(".pcapng"));
    }
    std::fs::write(scratch.0.join("stdout"), run("-w -")).unwrap();
    assert_eq!(times("stdout"), expected);
    run("-w all --write-size 1K");
    let names = (0..).map(|turn| match turn {
        0 => "all".to_owned(),
        turn => format!("all{turn}"),
    });
    let parts = names.take_while(|name| scratch.0.join(name).exists());
    let parts: Vec<_> = parts.map(|name| times(&name)).collect();
    assert!(parts.len() > 3);
    assert_eq!(parts.concat(), expected);
    run("-w last.pcapng --write-size 1K --write-files 3");
    let mut kept: Vec<_> = (0..3)
        .flat_map(|turn| times(&format!("last.pcapng{turn}")))
        .collect();
    kept.sort();
    assert!(kept.len() > 3 && expected.ends_with(&kept));
    assert!(!scratch.0.join("last.pcapng3").exists());
}

/// A pcapng block (draft-ietf-opsawg-pcapng, section 3.1), its body a multiple of four bytes.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes(), &length, body, &length].concat()
}

fn interface(number: usize) -> String {
    format!("eth{number:05}")
}

/// The demo's frames behind each other, each in a section of its own and from an interface of its own.
fn on_many_interfaces() -> Vec<u8> {
    let mut file = Vec::new();
    let recorded = Pcap::parse(&demo());
    for (number, frame) in recorded.frames.iter().enumerate() {
        let order = [0x1a2b_3c4d_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
        file.extend(block(0x0a0d_0d0a, &[&order[..], &[0xff; 8]].concat()));
        let name = interface(number);
        let ethernet = [1_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
        file.extend(block(
            1,
            &[&ethernet[..], &[2, 0, 8, 0], name.as_bytes()].concat(),
        ));
        let length = (frame.data.len() as u32).to_le_bytes();
        let mut body = [[0; 12].as_slice(), &length, &length, &frame.data].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, &body));
    }
    file
}

#[test]
fn interfaces_keep_their_names_in_what_is_saved_however_they_come() {
    let scratch = Scratch::new("names");
    let file = on_many_interfaces();
    std::fs::write(scratch.0.join("in.pcap"), &file).unwrap();
    let frames = Pcap::parse(&demo()).frames.len();
    let expected: Vec<String> = (0..frames).map(interface).collect();
    let names = |file: &str| tshark(&scratch.0.join(file), "frame.interface_name");
    assert!(scratch.run("-r in.pcap -q -w file.pcapng").status.success());
    assert_eq!(
        names("file.pcapng").as_ref().unwrap_or(&expected),
        &expected
    );
    if let Some(packed) = packed("gzip", &scratch) {
        std::fs::write(scratch.0.join("in.gz"), packed).unwrap();
        assert!(scratch.run("-r in.gz -q -w gz.pcapng").status.success());
        assert_eq!(names("gz.pcapng").as_ref().unwrap_or(&expected), &expected);
    }
}

/// A run that reads a stream, fed bit by bit.
struct Fed {
    child: Child,
    input: ChildStdin,
}

impl Fed {
    fn start(scratch: &Scratch, args: &str) -> Self {
        let mut command = tcpkit();
        command.current_dir(&scratch.0).args(["-r", "-"]);
        command.args(args.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        Self { child, input }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
        self.input.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the end while the stream is open, and does not come.
    fn end(mut self) -> Output {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(20) {
                self.child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.wait_with_output().unwrap()
    }
}

/// Whether a signal is in a mask of a process (proc_pid_status(5)): of those that it catches, or that wait for it.
#[cfg(target_os = "linux")]
fn has(pid: u32, mask: &str, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(mask));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}

fn snapshot(address: &str) -> Option<Value> {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    let request = "GET /api/v1/snapshot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Requests that a run with this address has told of.
fn requests(address: &str) -> u64 {
    let told = snapshot(address).unwrap_or_default();
    told["periods"][0]["ports"][0]["requests"]
        .as_u64()
        .unwrap_or(0)
}

#[test]
fn signals_and_readers_are_heard_while_a_stream_is_silent() {
    let scratch = Scratch::new("silent");
    let whole = demo();
    let recordings = [Some(whole.clone()), {
        std::fs::write(scratch.0.join("in.pcap"), &whole).unwrap();
        scratch.run("-r in.pcap -q -w in.pcapng");
        Some(scratch.read("in.pcapng"))
    }];
    for bytes in recordings.into_iter().flatten() {
        let address = format!("127.0.0.1:{}", free_port());
        let mut run = Fed::start(&scratch, &format!("-o out.txt -P {address}"));
        // Half of it, which ends amid a frame.
        run.feed(&bytes[..bytes.len() / 2]);
        wait_for("no requests are told", || requests(&address) > 0);
        let moved = scratch.0.join("moved.txt");
        std::fs::rename(scratch.0.join("out.txt"), &moved).unwrap();
        run.signal("HUP");
        #[cfg(target_os = "linux")]
        wait_for("it hears no signals", || !has(run.child.id(), "ShdPnd:", 1));
        std::thread::sleep(Duration::from_millis(300));
        run.signal("INT");
        let output = run.end();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(scratch.read("out.txt")).unwrap();
        assert!(
            said.contains("port 6379: ") && said.contains("capture: "),
            "{said}"
        );
    }
}

#[test]
fn a_stream_that_trickles_is_followed() {
    let scratch = Scratch::new("trickles");
    let bytes = demo();
    let mut run = Fed::start(&scratch, "-c 6");
    for part in bytes.chunks(50) {
        if run.input.write_all(part).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = run.end();
    let lines = report(&output)
        .lines()
        .filter(|line| line.contains(" => "))
        .count();
    assert_eq!((lines, output.status.code()), (6, Some(0)));
}

#[test]
fn a_signal_ends_the_wait_for_a_stream_that_never_begins() {
    let scratch = Scratch::new("never");
    let run = Fed::start(&scratch, "");
    // Until it has said that it hears signals, one would end it anyhow.
    #[cfg(target_os = "linux")]
    wait_for("it hears no signals", || has(run.child.id(), "SigCgt:", 2));
    std::thread::sleep(Duration::from_millis(300));
    run.signal("INT");
    let output = run.end();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("ended before anything came"),
        "{output:?}"
    );
}
