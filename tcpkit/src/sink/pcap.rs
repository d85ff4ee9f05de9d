//! The pcap sink.
