//! A process's life: background, signals, rights given up, rights missing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::ENGINES;
use crate::clients;
use crate::net::{Namespace, Pair, SERVER_V4, privileged};
use crate::run::Run;
use crate::servers::{REDIS, Redis, scratch};
use crate::support::{self, program, wait_for};

fn holds(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|all| all.contains(text))
}

/// The only tcpkit in a namespace.
fn daemon(namespace: &Namespace) -> Pid {
    let is_tcpkit = |pid: &u32| holds(Path::new(&format!("/proc/{pid}/comm")), "tcpkit");
    let all: Vec<u32> = namespace
        .processes()
        .into_iter()
        .filter(is_tcpkit)
        .collect();
    assert_eq!(all.len(), 1, "{all:?}");
    Pid::from_raw(i32::try_from(all[0]).unwrap()).unwrap()
}

#[test]
fn a_run_in_the_background_reports_to_its_file_and_opens_it_anew() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let folder = scratch("daemon");
        let (file, moved) = (folder.join("report"), folder.join("report.1"));
        let mut command = pair.server.command(&program().to_string_lossy());
        command
            .args(*engine)
            .args(["-d", "-i", "any", "-p", "6379", "-o"])
            .arg(&file);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let pid = daemon(&pair.server);
        clients::redis(&pair.client, SERVER_V4, 10, 1, 10);
        wait_for("lines in the report", || holds(&file, "| SET key:"));
        std::fs::rename(&file, &moved).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        // What is asked before the signal is looked at still goes to the old one.
        wait_for("a new report", || {
            clients::redis(&pair.client, SERVER_V4, 10, 1, 10);
            holds(&file, "| SET key:")
        });
        kill_process(pid, Signal::TERM).unwrap();
        wait_for("a summary", || holds(&file, "frames matched"));
        wait_for("the end", || {
            !Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()
        });
        assert!(!holds(&moved, "frames matched"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn what_keeps_a_run_from_the_background_is_told_to_the_caller() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    for engine in ENGINES {
        for (args, told) in [
            (
                &["-i", "nosuch0"][..],
                "--interface nosuch0: there is no such interface; there are ",
            ),
            (
                &["-o", "/nosuch/folder/file"],
                "--output /nosuch/folder/file: ",
            ),
            (
                &["tcp prot 3"],
                "the filter \"tcp prot 3\" cannot be used: ",
            ),
        ] {
            let mut command = namespace.command(&program().to_string_lossy());
            command.args(*engine).arg("-d").args(args);
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && said.contains(told),
                "{output:?}"
            );
        }
    }
    assert!(namespace.processes().is_empty());
}

#[test]
fn without_the_right_the_capability_and_what_grants_it_are_named() {
    if !privileged() {
        return;
    }
    // Where everybody may run it.
    let folder = scratch("rights");
    let program = folder.join("tcpkit");
    std::fs::copy(support::program(), &program).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    for engine in ENGINES {
        let mut command = std::process::Command::new(&program);
        command
            .args(*engine)
            .args(["-i", "lo"])
            .uid(65534)
            .gid(65534);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        let needed = if engine.contains(&"pcap") {
            "CAP_NET_RAW"
        } else {
            "CAP_BPF"
        };
        assert!(
            said.contains(needed) && said.contains("sudo setcap"),
            "{said}"
        );
    }
    // Whichever engine it would be.
    let mut command = std::process::Command::new(&program);
    command.args(["-i", "lo"]).uid(65534).gid(65534);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    for needed in ["cap_net_raw+ep", "cap_bpf,cap_net_admin,cap_perfmon+ep"] {
        let grant = format!("{needed} {}", program.display());
        assert!(said.contains(&grant), "{said}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn rights_are_given_up_once_attached() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    for engine in ENGINES {
        let run = Run::start(&namespace, &[engine, &["-i", "any"][..]].concat());
        // Programs are attached to interfaces that appear; libpcap needs nothing any longer.
        let kept: u64 = if engine.contains(&"pcap") {
            0
        } else {
            1 << CAP_NET_ADMIN | 1 << CAP_BPF
        };
        let tasks = format!("/proc/{}/task", run.pid());
        let mut looked = 0;
        for task in std::fs::read_dir(tasks).unwrap().flatten() {
            // A thread that has ended since holds no rights.
            let Ok(status) = std::fs::read_to_string(task.path().join("status")) else {
                continue;
            };
            looked += 1;
            for set in ["CapEff", "CapPrm"] {
                let line = status.lines().find(|line| line.starts_with(set)).unwrap();
                assert_eq!(line, format!("{set}:\t{kept:016x}"), "{engine:?}");
            }
        }
        assert!(looked > 0);
        assert!(run.stop().status.success());
    }
}

/// Numbers of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_BPF: u32 = 39;

/// What each engine needs, as setpriv(1) names it.
const NEEDED: [(&str, &[&str]); 2] = [
    ("ebpf", &["bpf", "net_admin", "perfmon"]),
    ("pcap", &["net_raw"]),
];

#[test]
fn the_unit_grants_what_is_needed_and_no_more() {
    if !privileged() {
        return;
    }
    let unit = include_str!("../../../dist/tcpkit.service");
    for set in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(set))
            .unwrap();
        let mut granted: Vec<_> = line.split(' ').map(str::to_lowercase).collect();
        let needed = NEEDED.iter().flat_map(|(_, needed)| *needed);
        let mut needed: Vec<_> = needed.map(|name| format!("cap_{name}")).collect();
        granted.sort();
        needed.sort();
        assert_eq!(granted, needed);
    }
    let folder = scratch("unit");
    let program = folder.join("tcpkit");
    std::fs::copy(support::program(), &program).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let namespace = Namespace::new();
    for (engine, needed) in NEEDED {
        assert!(captures(&namespace, &program, engine, needed), "{engine}");
        for left_out in needed {
            let rest: Vec<_> = needed
                .iter()
                .copied()
                .filter(|name| name != left_out)
                .collect();
            let does = captures(&namespace, &program, engine, &rest);
            assert!(!does, "{engine} without {left_out}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whether somebody who is not root captures with these capabilities alone.
fn captures(namespace: &Namespace, program: &Path, engine: &str, capabilities: &[&str]) -> bool {
    let named = capabilities.iter().map(|name| format!(",+{name}"));
    let set = format!("-all{}", named.collect::<String>());
    let mut command = namespace.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    for option in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.args([option, &set]);
    }
    command.arg(program).args(["--backend", engine, "-i", "lo"]);
    let output = command.args(["-q", "--duration", "0.1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("setpriv:"), "{said}");
    output.status.success()
}

#[test]
fn a_run_ends_after_so_many_exchanges() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        for depth in [1, 16] {
            let args = ["-i", "any", "-p", "6379", "--format", "json", "-c", "7"];
            let run = Run::start(&pair.server, &[engine, &args[..]].concat());
            clients::redis(&pair.client, SERVER_V4, 160, depth, 10);
            let ended = run.wait();
            assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);
            assert_eq!(ended.report().exchanges.len(), 7, "-P {depth}");
        }
    }
}

/// The well-known ports of the mode, without any being asked for.
#[test]
fn without_ports_the_modes_own_are_captured() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        for (mode, expected) in [("auto", 20), ("redis", 20), ("dns", 0)] {
            let args = ["-m", mode, "--format", "json", "--command", "get,set"];
            let run = Run::start(&pair.server, &[engine, &args[..]].concat());
            clients::redis(&pair.client, SERVER_V4, 10, 1, 10);
            assert_eq!(run.stop().report().exchanges.len(), expected, "{mode}");
        }
    }
}

/// Bytes that might be of several protocols are of the mode's, at its own port.
#[test]
fn a_conversation_at_the_modes_port_is_followed_from_its_first_byte() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let args = ["-m", "redis", "--format", "json"];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        pair.client.within(|| {
            for _ in 0..10 {
                let mut stream = TcpStream::connect((SERVER_V4, REDIS)).unwrap();
                stream.write_all(b"get nothing\r\n").unwrap();
                stream.read_exact(&mut [0; 5]).unwrap();
            }
        });
        assert_eq!(run.stop().report().exchanges.len(), 10, "{engine:?}");
    }
}
