//! Diagnostics of the programs in the kernel, as diagnostics of this process: target `tcpkit::kernel`. They are
//! off unless that target is on, and then not even in the loaded code.

use aya::Ebpf;
use aya_log::{EbpfLogger, Level};
use log::{Log, Metadata, Record};

/// The level that the programs are loaded with.
pub(super) fn level() -> u8 {
    if tracing::enabled!(target: "tcpkit::kernel", tracing::Level::DEBUG) {
        Level::Debug as u8
    } else {
        0
    }
}

/// Reads what the programs say.
pub(super) struct Diagnostics(EbpfLogger<Forward>);

impl Diagnostics {
    /// `None` where they are off.
    pub(super) fn new(ebpf: &mut Ebpf) -> Option<Self> {
        if level() == 0 {
            return None;
        }
        EbpfLogger::init_with_logger(ebpf, Forward).ok().map(Self)
    }

    /// Passes on what was said since the last call.
    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

struct Forward;

impl Log for Forward {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        tracing::debug!(target: "tcpkit::kernel", "{}", record.args());
    }

    fn flush(&self) {}
}
