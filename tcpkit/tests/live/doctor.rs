//! What `tcpkit doctor` says of a host is what a run finds there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::kernel::version;
use crate::net::{Namespace, connect, privileged};
use crate::run::Run;
use crate::servers::scratch;
use crate::support::program;

/// What loading and attaching programs takes.
pub const RIGHTS: [&str; 3] = ["bpf", "net_admin", "perfmon"];

/// A namespace with a cable to another, and frames of this size on it.
fn cabled(mtu: u32) -> [Namespace; 2] {
    let ends = [Namespace::new(), Namespace::new()];
    connect((&ends[0], "near"), (&ends[1], "far"), mtu);
    ends
}

/// A report, and nothing that went wrong.
fn report(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn doctor(namespace: &Namespace, interface: &str) -> String {
    let mut command = namespace.command(&program().to_string_lossy());
    report(command.args(["doctor", "-i", interface]).output().unwrap())
}

/// How a line of a report goes on; those of an interface are indented.
fn told<'a>(report: &'a str, what: &str) -> &'a str {
    let mut lines = report.lines().map(str::trim_start);
    let line = lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {what}: {report}")).trim()
}

#[test]
fn the_host_is_as_it_says_of_itself() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let report = doctor(&namespace, "lo");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(told(&report, "kernel"), release.trim());
    let has_types = Path::new("/sys/kernel/btf/vmlinux").exists();
    assert_eq!(told(&report, "BTF") == "yes", has_types);
    let held = "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: all here";
    assert_eq!(told(&report, "capabilities"), held);
    assert_eq!(told(&report, "libpcap"), "yes, with CAP_NET_RAW");
    assert_eq!(told(&report, "TC programs"), "yes");
    let fragments = told(&report, "XDP, fragments");
    assert_eq!(fragments == "yes", version() >= (5, 18), "{report}");
    assert!(
        told(&report, "cost a frame").contains("1400 bytes"),
        "{report}"
    );
}

/// As many rings, and as large, as the summary of a run has.
#[test]
fn ring_memory_is_what_a_run_takes() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let report = doctor(&namespace, "lo");
    let args = ["-i", "lo", "--backend", "ebpf", "-q", "--format", "json"];
    let summary = Run::start_as_given(&namespace, &args)
        .stop()
        .report()
        .summary;
    let rings = summary["live"]["rings"].as_array().unwrap();
    let kilobytes = rings[0]["size_bytes"].as_u64().unwrap() >> 10;
    let expected = format!("{} of {kilobytes} KiB", rings.len());
    assert_eq!(told(&report, "ring memory"), expected);
}

#[test]
fn an_interface_is_told_as_a_run_finds_it() {
    if !privileged() {
        return;
    }
    let tc = if version() >= (6, 6) {
        "TCX"
    } else {
        "clsact: the kernel has no TCX"
    };
    for mtu in [1500, 9000] {
        let [namespace, _far] = cabled(mtu);
        let report = doctor(&namespace, "near");
        assert_eq!(told(&report, "driver"), "veth");
        assert_eq!(told(&report, "MTU"), mtu.to_string());
        assert_eq!(told(&report, "TC "), tc);
        assert!(!report.contains("bond"), "{report}");
        for mode in ["native", "generic"] {
            let can = told(&report, &format!("XDP ({mode})")) == "yes";
            let run = Run::start(&namespace, &["-i", "near", "-q", &format!("--xdp={mode}")]);
            let does = run.said().contains(&format!("capturing with XDP ({mode})"));
            run.stop();
            assert_eq!(can, does, "{mode}, MTU {mtu}: {report}");
        }
    }
}

#[test]
fn why_a_hook_cannot_be_had_is_told() {
    if !privileged() {
        return;
    }
    let [namespace, _far] = cabled(1500);
    let report = doctor(&namespace, "lo");
    let refused = "no: the driver does not run such programs";
    assert_eq!(told(&report, "XDP (native)"), refused);
    assert_eq!(told(&report, "driver"), "none");
    let run = Run::start(&namespace, &["-i", "near", "-q", "--xdp=native"]);
    let report = doctor(&namespace, "near");
    let taken = "no: another program is attached there";
    assert_eq!(told(&report, "XDP (native)"), taken);
    run.stop();
    assert_eq!(told(&doctor(&namespace, "near"), "XDP (native)"), "yes");
}

/// Every interface that is up, in order; and the command is one that captures.
#[test]
fn without_an_interface_all_are_told() {
    if !privileged() {
        return;
    }
    let [namespace, _far] = cabled(1500);
    namespace.ip(&["link", "add", "idle", "type", "veth"]);
    let mut command = namespace.command(&program().to_string_lossy());
    let all = report(command.arg("doctor").output().unwrap());
    let names: Vec<&str> = all.lines().filter(|line| !line.contains(' ')).collect();
    let names: Vec<&str> = names.into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(names, ["lo", "near"], "{all}");
    assert_eq!(told(&all, "to capture"), "tcpkit -i any");
    assert!(captures(
        namespace.command(&program().to_string_lossy()),
        "tcpkit -i any"
    ));
}

#[test]
fn an_interface_that_is_not_there_is_an_error_that_lists_those_that_are() {
    if !privileged() {
        return;
    }
    let [namespace, _far] = cabled(1500);
    for clean in [&[][..], &["--clean"]] {
        let mut command = namespace.command(&program().to_string_lossy());
        let output = command
            .args(["doctor", "-i", "nowhere"])
            .args(clean)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        let expected =
            "tcpkit: --interface nowhere: there is no such interface; there are lo, near\n";
        assert_eq!(said, expected);
    }
}

/// Somebody who is not root, with these capabilities alone.
pub fn nobody(namespace: &Namespace, program: &Path, capabilities: &[&str]) -> Command {
    let named = capabilities.iter().map(|name| format!(",+{name}"));
    let set = format!("-all{}", named.collect::<String>());
    let mut command = namespace.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    for option in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.args([option, &set]);
    }
    command.arg(program);
    command
}

/// Whether the command that was told captures; `run` is called with its arguments.
fn captures(mut run: Command, told: &str) -> bool {
    let args = told.strip_prefix("tcpkit ").unwrap().split(' ');
    let output = run.args(args).args(["-q", "--duration", "0.1"]).output();
    output.unwrap().status.success()
}

#[test]
fn who_is_not_root_is_told_what_is_missing_and_what_is_known_all_the_same() {
    if !privileged() {
        return;
    }
    let folder = scratch("doctor");
    let copy = folder.join("tcpkit");
    std::fs::copy(program(), &copy).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let [namespace, _far] = cabled(9000);
    let ask = |rights: &[&str]| {
        let mut command = nobody(&namespace, &copy, rights);
        report(command.args(["doctor", "-i", "near"]).output().unwrap())
    };
    for left_out in 0..=RIGHTS.len() {
        let missing = RIGHTS
            .get(left_out)
            .map_or(&RIGHTS[..], std::slice::from_ref);
        let mut held = RIGHTS.to_vec();
        held.retain(|right| !missing.contains(right));
        let report = ask(&held);
        let names = missing
            .iter()
            .map(|right| format!("CAP_{}", right.to_uppercase()));
        let expected = format!("missing {}", names.collect::<Vec<_>>().join(", "));
        assert_eq!(told(&report, "capabilities"), expected);
        let why = told(&report, "eBPF");
        assert!(
            why.starts_with("no: eBPF needs ") && why.contains(&expected),
            "{report}"
        );
        assert_eq!(told(&report, "libpcap"), "no: missing CAP_NET_RAW");
        assert_eq!(
            (told(&report, "driver"), told(&report, "MTU")),
            ("veth", "9000")
        );
        assert_eq!(told(&report, "to capture"), "sudo tcpkit -i near");
        assert!(!captures(
            nobody(&namespace, &copy, &held),
            "tcpkit -i near"
        ));
    }
    for rights in [&RIGHTS[..], &["net_raw"]] {
        let report = ask(rights);
        let command = told(&report, "to capture");
        assert_eq!(command, "tcpkit -i near", "{report}");
        assert!(
            captures(nobody(&namespace, &copy, rights), command),
            "{rights:?}"
        );
    }
    assert!(told(&ask(&[]), "eBPF").contains("sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn where_nothing_was_left_behind_there_is_nothing_to_clean() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    assert!(!doctor(&namespace, "lo").contains("left behind"));
    let mut command = namespace.command(&program().to_string_lossy());
    let said = report(command.args(["doctor", "--clean"]).output().unwrap());
    assert_eq!(said, "nothing was left behind\n");
}
