//! Numbers of the IANA DNS registries, and their names.

/// Labels for statistics: the type that is asked for, or the operation where it is no query.
pub(super) static LABELS: &[&str] = &[
    "other", "A", "AAAA", "CNAME", "MX", "TXT", "NS", "SOA", "PTR", "SRV", "CAA", "HTTPS", "SVCB",
    "DS", "DNSKEY", "RRSIG", "NSEC", "NSEC3", "TLSA", "NAPTR", "ANY", "AXFR", "IXFR", "OPT", "SPF",
    "HINFO", "LOC", "SSHFP", "DNAME", "CDS", "CDNSKEY", "TKEY", "URI", "NOTIFY", "UPDATE",
    "IQUERY", "STATUS", "DSO",
];

/// Record types by number.
static TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (28, "AAAA"),
    (12, "PTR"),
    (65, "HTTPS"),
    (5, "CNAME"),
    (15, "MX"),
    (16, "TXT"),
    (33, "SRV"),
    (2, "NS"),
    (6, "SOA"),
    (64, "SVCB"),
    (43, "DS"),
    (48, "DNSKEY"),
    (257, "CAA"),
    (255, "ANY"),
    (252, "AXFR"),
    (251, "IXFR"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (50, "NSEC3"),
    (52, "TLSA"),
    (35, "NAPTR"),
    (41, "OPT"),
    (99, "SPF"),
    (13, "HINFO"),
    (29, "LOC"),
    (44, "SSHFP"),
    (39, "DNAME"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (249, "TKEY"),
    (256, "URI"),
    (3, "MD"),
    (4, "MF"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (11, "WKS"),
    (14, "MINFO"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (22, "NSAP"),
    (24, "SIG"),
    (25, "KEY"),
    (26, "PX"),
    (27, "GPOS"),
    (30, "NXT"),
    (36, "KX"),
    (37, "CERT"),
    (38, "A6"),
    (42, "APL"),
    (45, "IPSECKEY"),
    (49, "DHCID"),
    (51, "NSEC3PARAM"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (108, "EUI48"),
    (109, "EUI64"),
    (250, "TSIG"),
    (253, "MAILB"),
    (254, "MAILA"),
    (258, "AVC"),
    (32768, "TA"),
    (32769, "DLV"),
];

/// The name of a record type.
pub(super) fn kind(number: u16) -> Option<&'static str> {
    TYPES
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

/// The name of an operation other than QUERY.
pub(super) fn opcode(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "IQUERY",
        2 => "STATUS",
        4 => "NOTIFY",
        5 => "UPDATE",
        6 => "DSO",
        _ => return None,
    })
}

/// The index of a name's label; 0, `other`, for one that has none.
pub(super) fn label(name: Option<&str>) -> u16 {
    let position = name.and_then(|name| LABELS.iter().position(|label| *label == name));
    position.unwrap_or(0) as u16
}

/// No error condition.
pub(super) const NOERROR: u16 = 0;
/// The name does not exist.
pub(super) const NXDOMAIN: u16 = 3;

/// The name of a response code, extended ones included.
pub(super) fn rcode(number: u16) -> Option<&'static str> {
    Some(match number {
        NOERROR => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        NXDOMAIN => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        17 => "BADKEY",
        18 => "BADTIME",
        19 => "BADMODE",
        20 => "BADNAME",
        21 => "BADALG",
        22 => "BADTRUNC",
        23 => "BADCOOKIE",
        _ => return None,
    })
}
