//! Names of the programs. The kernel keeps 15 bytes of a name.

/// XDP, frames in several fragments included: Linux 5.18 and later.
pub const XDP_FRAGS: &str = "tcpkit_xdp_frag";
/// XDP, frames in one piece only.
pub const XDP: &str = "tcpkit_xdp";
/// Ingress at TC, Ethernet.
pub const INGRESS: &str = "tcpkit_in";
/// Egress at TC, Ethernet.
pub const EGRESS: &str = "tcpkit_out";
/// Ingress at TC, interfaces without a link layer.
pub const INGRESS_IP: &str = "tcpkit_in_ip";
/// Egress at TC, interfaces without a link layer.
pub const EGRESS_IP: &str = "tcpkit_out_ip";

/// All of them, for a test that looks them up in the built object.
pub const ALL: [&str; 6] = [XDP_FRAGS, XDP, INGRESS, EGRESS, INGRESS_IP, EGRESS_IP];

const _: () = {
    let mut at = 0;
    while at < ALL.len() {
        assert!(ALL[at].len() <= 15);
        at += 1;
    }
};
