//! Gives up the rights that a live run no longer needs once it captures.

use crate::source::live::Privilege;

/// Keeps what the engine goes on needing, and where files will be opened again, the right to do so as the user who
/// created them could. Threads that are started from now on have no more than that, whatever they parse.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub(super) fn keep(engine: &[Privilege], files: bool) -> std::io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

    let mut wanted = CapabilitySet::empty();
    for privilege in engine {
        wanted |= match privilege {
            Privilege::Bpf => CapabilitySet::BPF,
            Privilege::NetAdmin => CapabilitySet::NET_ADMIN,
            Privilege::Perfmon => CapabilitySet::PERFMON,
            Privilege::NetRaw => CapabilitySet::NET_RAW,
        };
    }
    if files {
        wanted |= CapabilitySet::DAC_OVERRIDE;
    }
    let now = capabilities(None)?;
    let kept = CapabilitySets {
        effective: now.effective & wanted,
        permitted: now.permitted & wanted,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, kept)?;
    // Nor does anything that would be started have more.
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Other systems have no capabilities to give up.
#[cfg(not(target_os = "linux"))]
pub(super) fn keep(_engine: &[Privilege], _files: bool) -> std::io::Result<()> {
    Ok(())
}
