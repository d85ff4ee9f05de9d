//! Capture filters in libpcap's language (pcap-filter(7)).
//!
//! Reads an expression, makes a yes or no for every [`Frame`]. libpcap compiles the expression
//! and runs it, once for each link type that turns up: where a field lies depends on what comes
//! before it. What it compares with `greater`, `less` and `len` is the length on the wire, also
//! where less of the frame was captured.

use pcap::{BpfProgram, Capture, Linktype};

use super::datalink::data_link;
use super::{Frame, LinkType};

/// An expression that libpcap does not take, with what it says about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter \"{expression}\" cannot be used: {why}")]
pub struct FilterError {
    expression: String,
    why: String,
}

/// A compiled capture filter.
pub struct Filter {
    expression: String,
    /// The program of each link type so far, the one used last in front. None where libpcap
    /// cannot express the filter on that link type.
    programs: Vec<(LinkType, Option<BpfProgram>)>,
    notices: Vec<String>,
}

impl Filter {
    /// Compiles an expression for the link type that comes first; others follow on demand.
    ///
    /// # Errors
    /// When libpcap refuses the expression: its grammar, an unknown host or protocol name, a
    /// test that this link type has no place for, or one that no frame can pass.
    pub fn new(expression: &str, first_link: LinkType) -> Result<Self, FilterError> {
        let program = compile(expression, first_link).map_err(|why| FilterError {
            expression: expression.to_owned(),
            why,
        })?;
        Ok(Self {
            expression: expression.to_owned(),
            programs: vec![(first_link, Some(program))],
            notices: Vec::new(),
        })
    }

    /// The expression as it was given.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether a frame passes. None does on a link type that the expression has no meaning on.
    pub fn matches(&mut self, frame: &Frame<'_>) -> bool {
        if self
            .programs
            .first()
            .is_none_or(|(link, _)| *link != frame.link)
        {
            self.bring_forward(frame.link);
        }
        match self.programs.first() {
            Some((_, Some(program))) => run(program, frame),
            _ => false,
        }
    }

    /// What could not be filtered, in sentences: one for each link type on which libpcap cannot
    /// express the filter, and whose frames are left out.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Another filter of the same expression, for another thread.
    ///
    /// # Errors
    /// As [`Filter::new`]; not for an expression that was compiled before, unless a host name in
    /// it can no longer be resolved.
    pub fn again(&self) -> Result<Self, FilterError> {
        let first = self.programs.iter().find(|(_, program)| program.is_some());
        Self::new(
            &self.expression,
            first.map_or(LinkType::ETHERNET, |(link, _)| *link),
        )
    }

    #[cold]
    fn bring_forward(&mut self, link: LinkType) {
        let known = self.programs.iter().position(|(known, _)| *known == link);
        let place = known.unwrap_or_else(|| self.add(link));
        self.programs.swap(0, place);
    }

    fn add(&mut self, link: LinkType) -> usize {
        let program = compile(&self.expression, link);
        if let Err(why) = &program {
            let expression = &self.expression;
            self.notices.push(format!(
                "the filter \"{expression}\" has no meaning on {link}, and no such frame passes: {why}"
            ));
        }
        self.programs.push((link, program.ok()));
        self.programs.len() - 1
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let links: Vec<_> = self.programs.iter().map(|(link, _)| link).collect();
        f.debug_struct("Filter")
            .field("expression", &self.expression)
            .field("links", &links)
            .finish_non_exhaustive()
    }
}

fn compile(expression: &str, link: LinkType) -> Result<BpfProgram, String> {
    Capture::dead(Linktype(data_link(link)))
        .and_then(|dead| dead.compile(expression, true))
        .map_err(|error| match error {
            pcap::Error::PcapError(words) => words,
            other => other.to_string(),
        })
}

#[link(name = "pcap")]
unsafe extern "C" {
    /// libpcap's interpreter: non-zero where the program accepts the packet.
    fn bpf_filter(
        program: *const pcap::BpfInstruction,
        packet: *const u8,
        wire_len: libc::c_uint,
        captured: libc::c_uint,
    ) -> libc::c_uint;
}

/// `BpfProgram::filter` takes the captured length for that on the wire, so the interpreter is
/// called with both.
fn run(program: &BpfProgram, frame: &Frame<'_>) -> bool {
    let Ok(captured) = libc::c_uint::try_from(frame.data.len()) else {
        return false;
    };
    // SAFETY: the instructions are libpcap's own, validated by its compiler and terminated by a
    // return; `BpfInstruction` is transparent over its `struct bpf_insn`. The packet is
    // `captured` bytes long, and the interpreter reads none beyond them.
    unsafe {
        let instructions = program.get_instructions().as_ptr();
        bpf_filter(instructions, frame.data.as_ptr(), frame.wire_len, captured) != 0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;
    use crate::source::Timestamp;

    /// IPv4 from 10.0.0.1 to 10.0.0.2, TCP from port 40000 to 6379.
    const IP: [u8; 40] = [
        0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
        0x9c, 0x40, 0x18, 0xeb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];

    fn ethernet() -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend([8, 0]);
        bytes.extend(IP);
        bytes
    }

    fn frame(data: &[u8], link: LinkType, wire_len: u32) -> Frame<'_> {
        Frame {
            data,
            time: Timestamp(0),
            number: 1,
            wire_len,
            interface: 0,
            link,
        }
    }

    fn passes(expression: &str, data: &[u8], link: LinkType, wire_len: u32) -> bool {
        Filter::new(expression, link)
            .unwrap()
            .matches(&frame(data, link, wire_len))
    }

    #[test]
    fn frames_are_chosen() {
        let bytes = ethernet();
        for (expression, expected) in [
            ("tcp port 6379", true),
            ("port 6380", false),
            ("host 10.0.0.1 and tcp[tcpflags] & tcp-syn != 0", true),
            ("ip6", false),
            ("", true),
        ] {
            assert_eq!(passes(expression, &bytes, LinkType::ETHERNET, 54), expected);
        }
    }

    #[test]
    fn one_filter_over_several_links() {
        let mut filter = Filter::new("tcp dst port 6379", LinkType::ETHERNET).unwrap();
        let bytes = ethernet();
        let loopback = [&[2, 0, 0, 0][..], &IP].concat();
        let mut cooked = vec![0; 14];
        cooked.extend([8, 0]);
        cooked.extend(IP);
        for _ in 0..2 {
            assert!(filter.matches(&frame(&bytes, LinkType::ETHERNET, 54)));
            assert!(filter.matches(&frame(&IP, LinkType::RAW, 40)));
            assert!(filter.matches(&frame(&loopback, LinkType::NULL, 44)));
            assert!(filter.matches(&frame(&cooked, LinkType::LINUX_SLL, 56)));
            assert!(!filter.matches(&frame(&IP, LinkType::ETHERNET, 40)));
        }
        assert!(filter.notices().is_empty());
        assert!(
            filter
                .again()
                .unwrap()
                .matches(&frame(&bytes, LinkType::ETHERNET, 54))
        );
    }

    #[test]
    fn lengths_are_those_on_the_wire() {
        let bytes = ethernet();
        assert!(passes("greater 1000", &bytes, LinkType::ETHERNET, 1514));
        assert!(!passes("less 100", &bytes, LinkType::ETHERNET, 1514));
        assert!(!passes("greater 1000", &bytes, LinkType::ETHERNET, 54));
        // What was cut off cannot be looked at, and does not match.
        assert!(!passes(
            "tcp port 6379",
            &bytes[..36],
            LinkType::ETHERNET,
            54
        ));
        assert!(!passes("tcp port 6379", &[], LinkType::ETHERNET, 0));
    }

    #[test]
    fn a_link_type_without_meaning_passes_nothing_and_is_told_once() {
        let mut filter = Filter::new("ether host 02:02:02:02:02:02", LinkType::ETHERNET).unwrap();
        for _ in 0..3 {
            assert!(!filter.matches(&frame(&IP, LinkType::RAW, 40)));
        }
        assert!(filter.matches(&frame(&ethernet(), LinkType::ETHERNET, 54)));
        assert_eq!(filter.notices().len(), 1);
        assert!(
            filter.notices()[0].contains("on raw IP"),
            "{:?}",
            filter.notices()
        );
    }

    #[test]
    fn a_wrong_expression_is_quoted_with_what_libpcap_says() {
        let error = Filter::new("tcp prot 80", LinkType::ETHERNET)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the filter \"tcp prot 80\" cannot be used: "),
            "{error}"
        );
        assert!(error.contains("syntax error"), "{error}");
        assert!(Filter::new("port\0 80", LinkType::ETHERNET).is_err());
    }
}
