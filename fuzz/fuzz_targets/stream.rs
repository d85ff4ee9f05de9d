#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcpkit::pipeline::fuzzing::stream(bytes));
