//! The capture filter that keeps what an [`Interest`] names, in libpcap's language.
//!
//! Reads an interest and a link type, makes an expression that the kernel runs for every frame. It keeps
//! more than the interest where the language cannot say it: it is selected again behind the engine.

use ipnet::IpNet;

use super::super::LinkType;
use super::super::live::Interest;

/// Index of Linux's loopback interface in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: &str = "ifindex 1";

/// The filter for frames of this link type.
pub(super) fn expression(interest: &Interest, link: LinkType) -> String {
    let user = interest.filter.trim();
    let base = all_of(&[&interesting(interest), &once(link)]);
    if moves_offsets(user) {
        // What follows such a word in the text is looked for behind the header that it names.
        return all_of(&[user, &base]);
    }
    let plain = all_of(&[&base, user]);
    match link {
        LinkType::ETHERNET => tagged(&plain),
        _ => plain,
    }
}

/// Also behind one VLAN tag, or two. The outer one stands in the packet's metadata most often, where the
/// word finds it too; each use of the word moves what follows it in the text behind a tag.
fn tagged(plain: &str) -> String {
    match plain {
        "" => String::new(),
        plain => format!("({plain}) or (vlan and (({plain}) or (vlan and ({plain}))))"),
    }
}

/// Linux shows frames of loopback on their way out and on their way in; those on their way in are kept. (A
/// handle on loopback alone does without this test: see `ignore_outgoing`.)
fn once(link: LinkType) -> String {
    match link {
        LinkType::LINUX_SLL2 => format!("not ({LOOPBACK} and outbound)"),
        _ => String::new(),
    }
}

/// Words of the language that are followed by tests of what lies behind another header.
fn moves_offsets(user: &str) -> bool {
    const WORDS: [&str; 5] = ["vlan", "mpls", "pppoes", "geneve", "vxlan"];
    user.split(|char: char| !char.is_ascii_alphanumeric())
        .any(|word| WORDS.contains(&word))
}

/// IPv6 behind options for each hop or for the end, or a routing header: what comes then the language finds by a loop, which no
/// kernel runs. ICMP is told where it comes at once: each host sends its multicast reports so.
const EXTENDED: &str = "(ip6[6] == 0 or ip6[6] == 43 or ip6[6] == 60) and ip6[40] != 58";

fn interesting(interest: &Interest) -> String {
    let mut kinds = Vec::new();
    if interest.tcp {
        kinds.push(all_of(&["tcp", &ports(interest), &telling(interest)]));
    }
    if interest.udp {
        kinds.push(all_of(&["udp", &ports(interest)]));
        // Fragments after the first carry no ports.
        kinds.push("ip proto 17 and ip[6:2] & 0x1fff != 0".to_owned());
        kinds.push("ip6[6] == 44".to_owned());
    }
    if interest.tcp || interest.udp {
        kinds.push(EXTENDED.to_owned());
    }
    all_of(&[&any_of(&kinds), &servers(&interest.servers)])
}

fn ports(interest: &Interest) -> String {
    let ranges = interest.ports.iter();
    any_of(
        &ranges
            .map(|ports| match (ports.start(), ports.end()) {
                (first, last) if first == last => format!("port {first}"),
                (first, last) => format!("portrange {first}-{last}"),
            })
            .collect::<Vec<_>>(),
    )
}

fn servers(networks: &[IpNet]) -> String {
    let networks = networks.iter().map(|network| match network {
        net if net.prefix_len() == net.max_prefix_len() => format!("host {}", net.addr()),
        net => format!("net {}", net.trunc()),
    });
    any_of(&networks.collect::<Vec<_>>())
}

/// TCP segments that carry something or change something: payload, SYN, FIN, RST or a closed window. The
/// IPv4 length of a super-frame may be 0 (BIG TCP), which counts as payload. `tcp[…]` is IPv4's alone, so
/// that IPv6 is told by its own offsets; behind an extension header everything is kept.
fn telling(interest: &Interest) -> String {
    if interest.empty_segments {
        return String::new();
    }
    let ipv4 = "ip and (tcp[13] & 7 != 0 or tcp[14:2] == 0 \
                or ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0)";
    let ipv6 = "ip6 and (ip6[6] != 6 or ip6[53] & 7 != 0 or ip6[54:2] == 0 \
                or ip6[4:2] - ((ip6[52] & 0xf0) >> 2) != 0)";
    format!("(({ipv4}) or ({ipv6}))")
}

/// All of those that are not empty.
fn all_of(tests: &[&str]) -> String {
    let tests: Vec<_> = tests.iter().filter(|test| !test.is_empty()).collect();
    match tests.as_slice() {
        [] => String::new(),
        [one] => (**one).to_owned(),
        many => {
            let many = many.iter().map(|test| format!("({test})"));
            many.collect::<Vec<_>>().join(" and ")
        }
    }
}

/// One of these; empty where there are none.
fn any_of(tests: &[String]) -> String {
    match tests {
        [] => String::new(),
        [one] => one.clone(),
        many => {
            let many = many.iter().map(|test| format!("({test})"));
            many.collect::<Vec<_>>().join(" or ")
        }
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
