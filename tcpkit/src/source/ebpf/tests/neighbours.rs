//! Programs of others on the same interface, a second instance, and what a kill leaves behind.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tcpkit_common::{EGRESS, INGRESS, count, map, program};

use super::frames::segment;
use super::host::*;
use super::{PORT, alone, interest, is_privileged};
use crate::source::ebpf::attach::{Place, link};
use crate::source::ebpf::clsact::{self, Owner};
use crate::source::ebpf::interfaces::{Device, devices};
use crate::source::ebpf::ladder::Ladder;
use crate::source::ebpf::netlink::{Message, attribute, dump, u32_at};
use crate::source::ebpf::object::Kernel;
use crate::source::ebpf::pace::Pace;
use crate::source::ebpf::{Hooks, XdpMode};

const XDP: Hooks = Hooks::Xdp(XdpMode::Auto);

/// Somebody else's program on an interface, which counts what it sees.
struct Neighbour {
    kernel: Kernel,
    _link: Option<OwnedFd>,
    /// Says that it is alive.
    _pace: Option<Pace>,
}

impl Neighbour {
    fn new(interface: &str, name: &str, place: Place) -> Self {
        let mut kernel = Kernel::load(&interest(), false).unwrap();
        let link = link(kernel.program(name).unwrap(), index(interface), place).unwrap();
        Self {
            kernel,
            _link: Some(link),
            _pace: None,
        }
    }

    /// At a clsact qdisc, with nothing but a heartbeat that tells of a reader.
    fn filter(interface: &str, name: &str, is_ingress: bool) -> Self {
        Self::filter_of(&Owner::default(), interface, name, is_ingress)
    }

    fn filter_of(owner: &Owner, interface: &str, name: &str, is_ingress: bool) -> Self {
        let mut kernel = Kernel::load(&interest(), false).unwrap();
        kernel.program(name).unwrap();
        clsact::attach(&mut kernel.ebpf, owner, name, interface, is_ingress).unwrap();
        Self {
            kernel,
            _link: None,
            _pace: None,
        }
    }

    /// With a reader.
    fn alive(mut self) -> Self {
        let map = self.kernel.map(map::CONTROL).unwrap();
        self._pace = Some(Pace::new(&map, &self.kernel.rings).unwrap());
        self
    }

    fn seen(&self) -> u64 {
        [INGRESS, EGRESS]
            .map(|way| self.kernel.counters(way)[count::SEEN])
            .iter()
            .sum()
    }
}

/// Frames sent over `wire` reach the neighbour before, while and after another instance captures.
fn shares(neighbour: &Neighbour, wire: &Wire, hooks: Hooks, expected_notice: Option<&str>) {
    let send = || (0..10).for_each(|_| wire.send(&segment(PORT, 99)));
    send();
    assert_eq!(neighbour.seen(), 10, "before");
    let (mut engine, notices) = capture(&interest(), &["near"], hooks);
    match expected_notice {
        Some(part) => assert!(
            notices.iter().any(|notice| notice.contains(part)),
            "{notices:?}"
        ),
        None => assert_eq!(notices, [""; 0]),
    }
    send();
    assert_eq!(take(&mut *engine, 10).len(), 10);
    assert_eq!(neighbour.seen(), 20, "during");
    drop(engine);
    send();
    assert_eq!(neighbour.seen(), 30, "after");
}

/// Whether the kernel links programs to TC.
fn has_tcx() -> bool {
    let mut kernel = Kernel::load(&interest(), false).unwrap();
    let program = kernel.program(program::EGRESS).unwrap();
    link(program, index("lo"), Place::TcxEgress).is_ok()
}

#[test]
fn a_foreign_xdp_program_stays_and_tc_is_taken_instead() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let neighbour = Neighbour::new("near", program::XDP, Place::XdpNative);
        let notice = "near: no XDP (native): another program is attached there";
        shares(&neighbour, &Wire::new("far"), XDP, Some(notice));
    });
}

#[test]
fn a_program_behind_ours_at_tcx_sees_every_packet() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        if !has_tcx() {
            eprintln!("not tested: the kernel has no TCX");
            return;
        }
        cable("near", "far");
        let neighbour = Neighbour::new("near", program::INGRESS, Place::TcxIngress);
        shares(&neighbour, &Wire::new("far"), Hooks::Tc, None);
        drop(neighbour);
        let neighbour = Neighbour::new("near", program::EGRESS, Place::TcxEgress);
        shares(&neighbour, &Wire::new("near"), Hooks::Tc, None);
    });
}

#[test]
fn a_clsact_filter_beside_ours_sees_every_packet() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        for (name, is_ingress, end) in [
            (program::INGRESS, true, "far"),
            (program::EGRESS, false, "near"),
        ] {
            let neighbour = Neighbour::filter("near", name, is_ingress).alive();
            shares(&neighbour, &Wire::new(end), Hooks::Tc, None);
        }
    });
}

#[test]
fn two_instances_deliver_the_same() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (mut first, _) = capture(&interest(), &["near"], Hooks::Tc);
        let (mut second, _) = capture(&interest(), &["near"], Hooks::Tc);
        let wire = Wire::new("far");
        (60..90).for_each(|length| wire.send(&segment(PORT, length)));
        let (one, two) = (take(&mut *first, 30), take(&mut *second, 30));
        assert_eq!((bytes(&one).len(), bytes(&one)), (30, bytes(&two)));
    });
}

/// Says whether this process is the one that is to capture until it is killed.
const CHILD: &str = "TCPKIT_TEST_CAPTURES";

/// Not a test: what [`captured_until_killed`] starts.
#[test]
#[ignore = "started by other tests, in a process of its own"]
fn captures_until_killed() {
    let hooks = match std::env::var(CHILD).as_deref() {
        Ok("xdp") => XDP,
        Ok(_) => Hooks::Tc,
        Err(_) => return,
    };
    let (mut engine, _) = capture(&interest(), &["near"], hooks);
    loop {
        engine
            .deliver(Duration::from_millis(100), &mut |_| true)
            .unwrap();
    }
}

/// A process that captures in this namespace, killed once its programs are attached.
fn captured_until_killed(hooks: &str, is_attached: impl Fn() -> bool) {
    let name = "source::ebpf::tests::neighbours::captures_until_killed";
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(CHILD, hooks)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let was_attached = comes_true(is_attached);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(was_attached, "the child never attached");
}

/// Whether the interface has a program at XDP, as the kernel tells it. To try for a link of one's own would take it from who comes
/// meanwhile.
fn is_xdp_taken() -> bool {
    /// Bytes of `struct ifinfomsg`, and in `IFLA_XDP`: how a program is attached, 0 where none is.
    const HEADER: usize = 16;
    const ATTACHED: u16 = 2;
    let messages = dump(libc::RTM_GETLINK, &[0; HEADER]).unwrap();
    let is_it = |message: &&Message| u32_at(&message.body, 4) == Some(index("near"));
    let near = messages.iter().find(is_it).unwrap();
    let xdp = attribute(&near.body, HEADER, libc::IFLA_XDP);
    xdp.and_then(|xdp| attribute(xdp, 0, ATTACHED))
        .is_some_and(|how| how != [0])
}

/// Programs at TCX of the interface, both ways together.
fn tcx_programs() -> usize {
    use aya::programs::{SchedClassifier, TcAttachType};
    let count =
        |way| SchedClassifier::query_tcx("near", way).map_or(0, |(_, programs)| programs.len());
    count(TcAttachType::Ingress) + count(TcAttachType::Egress)
}

/// Whether something becomes true within a minute.
fn comes_true(is_so: impl Fn() -> bool) -> bool {
    (0..1200).any(|_| {
        is_so() || {
            std::thread::sleep(Duration::from_millis(50));
            false
        }
    })
}

#[test]
fn a_kill_leaves_no_link_behind() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        captured_until_killed("xdp", is_xdp_taken);
        // The kernel frees a link a moment after its last descriptor.
        assert!(comes_true(|| !is_xdp_taken()), "the link stays");
        if !has_tcx() {
            return;
        }
        captured_until_killed("tc", || tcx_programs() == 2);
        assert!(comes_true(|| tcx_programs() == 0), "the links stay");
    });
}

/// That one filter was removed, and no other.
fn assert_removed_at_egress(said: &[String]) {
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("removed the filter tcpkit_out at egress of near"),
        "{said:?}"
    );
}

#[test]
fn what_a_kill_leaves_at_clsact_is_removed_at_the_next_start_and_no_other() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let found = devices().unwrap();
        // A filter whose reader is alive, and one whose reader never was.
        let alive = Neighbour::filter("near", program::INGRESS, true).alive();
        let left = Neighbour::filter("near", program::EGRESS, false);
        let said = clsact::clean(&found);
        assert_removed_at_egress(&said);
        assert_eq!(clsact::survey(&found).left_behind, []);
        let wire = Wire::new("near");
        wire.send(&segment(PORT, 99));
        assert_eq!(left.seen(), 0, "removed");
        Wire::new("far").send(&segment(PORT, 99));
        assert_eq!(alive.seen(), 1, "the other one stays");
    });
}

/// As the unit of dist/ runs it: with the rights to capture, but not to look into programs of others.
#[test]
fn without_the_right_to_look_what_may_be_left_behind_stays_and_is_told() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let found = devices().unwrap();
        let _left = Neighbour::filter("near", program::EGRESS, false);
        let said = clean_without_looking(&found);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("1 filters") && said[0].contains("CAP_SYS_ADMIN"),
            "{said:?}"
        );
        assert_eq!(clsact::survey(&found).left_behind.len(), 1);
    });
}

/// What is cleaned, and said of it, by who may not look into programs of others.
fn clean_without_looking(devices: &[Device]) -> Vec<String> {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let all = capabilities(None).unwrap();
    let mut fewer = capabilities(None).unwrap();
    fewer.effective.remove(CapabilitySet::SYS_ADMIN);
    set_capabilities(None, fewer).unwrap();
    let said = clsact::clean(devices);
    set_capabilities(None, all).unwrap();
    said
}

/// The first filter's heartbeat was never there, as of a process that is stopped for long.
#[test]
fn a_filter_is_left_behind_once_its_owner_is_gone_whatever_its_heartbeat_says() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let found = devices().unwrap();
        let (silent, gone) = (Owner::new(), Owner::new());
        let _silent = Neighbour::filter_of(&silent, "near", program::INGRESS, true);
        let _gone = Neighbour::filter_of(&gone, "near", program::EGRESS, false).alive();
        assert_eq!(clean_without_looking(&found), [""; 0]);
        assert_eq!(clsact::clean(&found), [""; 0]);
        drop(gone);
        let said = clean_without_looking(&found);
        assert_removed_at_egress(&said);
        drop(silent);
        assert_eq!(clsact::survey(&found).left_behind.len(), 1);
    });
}

#[test]
fn a_program_without_a_reader_writes_nothing() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let mut kernel = Kernel::load(&interest(), true).unwrap();
        kernel.program(program::INGRESS).unwrap();
        let owner = Owner::default();
        clsact::attach(&mut kernel.ebpf, &owner, program::INGRESS, "near", true).unwrap();
        let wire = Wire::new("far");
        wire.send(&segment(PORT, 99));
        let row = kernel.counters(INGRESS);
        assert_eq!(
            (row[count::SEEN], row[count::MATCHED]),
            (1, 0),
            "never alive"
        );
        let map = kernel.map(map::CONTROL).unwrap();
        let pace = Pace::new(&map, &kernel.rings).unwrap();
        wire.send(&segment(PORT, 99));
        let row = kernel.counters(INGRESS);
        assert_eq!((row[count::SEEN], row[count::EMITTED]), (2, 1), "alive");
        drop(pace);
    });
}

#[test]
fn what_the_ladder_says_names_every_interface() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let found = devices().unwrap();
        let mut ladder = Ladder::new(&interest(), XDP, &found).unwrap();
        for device in &found {
            ladder.attach(device).unwrap();
        }
        let said = ladder.describe();
        assert!(
            said.contains("near, far") || said.contains("far, near"),
            "{said}"
        );
        let notices = ladder.take_notices();
        if ladder.kernel.program(program::XDP_FRAGS).is_ok() {
            assert!(said.contains("XDP (generic) on lo"), "{said}");
            assert_eq!(
                notices,
                ["lo: no XDP (native): the driver does not run such programs"]
            );
        } else {
            let why = "frames of an MTU of 65536 do not fit into what it takes";
            let expected = ["native", "generic"].map(|mode| format!("lo: no XDP ({mode}): {why}"));
            assert_eq!(notices, expected);
        }
    });
}
