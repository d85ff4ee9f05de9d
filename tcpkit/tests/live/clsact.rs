//! Filters at clsact, where the kernel has no TCX: what a kill leaves behind, and who may take it away.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;

use crate::doctor::{RIGHTS, nobody};
use crate::net::{Namespace, Pair, SERVER_IF, privileged};
use crate::run::Run;
use crate::servers::scratch;
use crate::support::{program, wait_for};

/// What makes a kernel without TCX of this one, for a command and all that it starts: the call that links a program to a
/// place is refused as by one that does not know the place.
fn without_tcx(command: &mut Command) -> &mut Command {
    // SAFETY: one system call, on memory of its own.
    unsafe { command.pre_exec(refuse_links) }
}

/// seccomp(2): `BPF_LINK_CREATE` of bpf(2) ends with `EINVAL`.
fn refuse_links() -> std::io::Result<()> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const LINK_CREATE: u32 = 28;
    let step = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut steps = [
        // The call's number, and the lower half of its first argument.
        step(LOAD, 0, 0),
        step(JUMP_IF_EQUAL, libc::SYS_bpf as u32, 3),
        step(LOAD, if cfg!(target_endian = "big") { 20 } else { 16 }, 0),
        step(JUMP_IF_EQUAL, LINK_CREATE, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: reads the steps.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A copy of tcpkit that who is not root may start.
fn public_copy() -> (PathBuf, PathBuf) {
    let folder = scratch("clsact");
    let copy = folder.join("tcpkit");
    std::fs::copy(program(), &copy).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    (folder, copy)
}

/// Filters of ours on an interface, both ways together.
fn filters(namespace: &Namespace, interface: &str) -> usize {
    let ways = ["ingress", "egress"].map(|way| {
        let mut tc = namespace.command("tc");
        let output = tc.args(["filter", "show", "dev", interface, way]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines()
            .filter(|line| line.contains(" handle ") && line.contains("tcpkit_"))
            .count()
    });
    ways.iter().sum()
}

/// Runs it to its end; what it said.
fn said(command: &mut Command) -> (ExitStatus, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8(said).unwrap())
}

/// Captures at clsact, as whatever `command` becomes.
fn capture(mut command: Command) -> Run {
    without_tcx(&mut command);
    command.args(["-i", SERVER_IF, "-q", "--backend", "ebpf"]);
    let (mut run, stdout) = Run::begin(command);
    run.read(stdout);
    let said = run.said();
    assert!(said.contains("capturing with TC (clsact) on tks"), "{said}");
    run
}

fn kill(run: Run) {
    run.signal(Signal::KILL);
    assert!(!run.wait().status.success());
}

/// As the unit of `dist/` is started again after a kill: with the rights to capture, but none to look into programs of
/// others. Beside it a container captures, on the host's network and with processes of its own.
#[test]
fn what_a_killed_run_left_is_removed_by_the_next_and_nothing_of_one_that_lives() {
    if !privileged() {
        return;
    }
    let (folder, copy) = public_copy();
    let pair = Pair::new(1500);
    let here = &pair.server;
    let mut contained = here.command("unshare");
    contained.args(["--pid", "--fork", "--kill-child"]);
    contained.arg(program());
    let contained = capture(contained);
    let service = |program: &Path| nobody(here, program, &RIGHTS);
    let killed = capture(service(&copy));
    assert_eq!(filters(here, SERVER_IF), 4);
    kill(killed);
    assert_eq!(filters(here, SERVER_IF), 4, "they outlive a kill");
    let mut next = service(&copy);
    next.args([
        "-i",
        SERVER_IF,
        "-q",
        "--backend",
        "ebpf",
        "--duration",
        "0.1",
    ]);
    let (status, told) = said(without_tcx(&mut next));
    assert!(status.success(), "{told}");
    for what in ["tcpkit_in at ingress", "tcpkit_out at egress"] {
        let removed =
            format!("removed the filter {what} of tks, left behind by a run that was killed");
        assert_eq!(told.matches(&removed).count(), 1, "{told}");
    }
    assert_eq!(told.matches("filter").count(), 2, "{told}");
    assert_eq!(filters(here, SERVER_IF), 2, "those of the container");
    let clean = || said(service(&copy).args(["doctor", "--clean"]));
    assert_eq!(clean().1, "nothing was left behind\n");
    assert_eq!(filters(here, SERVER_IF), 2);
    kill(contained);
    let mut told = String::new();
    // The container ends a moment after what started it.
    wait_for("filters stay", || {
        told += &clean().1;
        filters(here, SERVER_IF) == 0
    });
    assert_eq!(told.matches("removed the filter").count(), 2, "{told}");
    let qdiscs = said(here.command("tc").args(["qdisc", "show", "dev", SERVER_IF]));
    assert!(qdiscs.1.contains("clsact"), "{}", qdiscs.1);
    std::fs::remove_dir_all(folder).unwrap();
}

/// An owner is looked for in the network namespace of the filter, which is its own.
#[test]
fn an_interface_that_moves_to_another_namespace_loses_its_filters() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let run = capture(pair.server.command(&program().to_string_lossy()));
    assert_eq!(filters(&pair.server, SERVER_IF), 2);
    run.signal(Signal::STOP);
    pair.server
        .ip(&["link", "set", SERVER_IF, "netns", pair.client.name()]);
    assert_eq!(filters(&pair.client, SERVER_IF), 0);
    run.signal(Signal::CONT);
    drop(run);
}
