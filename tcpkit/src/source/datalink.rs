//! Link types in libpcap's own numbers (DLT_), which differ from those of files (LINKTYPE_) where
//! systems disagreed before there was a registry.

use super::LinkType;

/// DLT_RAW of the system that this is built for.
const DLT_RAW: i32 = if cfg!(target_os = "openbsd") { 14 } else { 12 };
const DLT_ATM_RFC1483: i32 = 11;

/// libpcap's own number for a link type of files.
pub(super) fn data_link(link: LinkType) -> i32 {
    match link.0 {
        100 => DLT_ATM_RFC1483,
        101 => DLT_RAW,
        other => i32::from(other),
    }
}

/// The link type that files have for libpcap's own number; `None` where it is none of them.
pub(super) fn link_type(data_link: i32) -> Option<LinkType> {
    match data_link {
        DLT_ATM_RFC1483 => Some(LinkType(100)),
        DLT_RAW => Some(LinkType::RAW),
        other => u16::try_from(other).ok().map(LinkType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for link in [
            LinkType::NULL,
            LinkType::ETHERNET,
            LinkType(100),
            LinkType::RAW,
            LinkType::LINUX_SLL,
            LinkType::LINUX_SLL2,
        ] {
            assert_eq!(link_type(data_link(link)), Some(link));
        }
        assert_eq!(link_type(-1), None);
        assert_eq!(link_type(1 << 20), None);
    }
}
