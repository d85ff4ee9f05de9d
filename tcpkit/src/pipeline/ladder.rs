//! Which engine captures: the best one that works here, each step down with its reason.

use anyhow::{anyhow, bail};

use crate::cli::{Backend, Options};
use crate::source::SourceError;
use crate::source::libpcap::Libpcap;
use crate::source::live::{Engine, Interest};

/// One engine, and how to open it.
struct Rung {
    backend: Backend,
    /// Its name in sentences.
    name: &'static str,
    /// Whether it can do what `--xdp` asks for.
    xdp: bool,
    open: fn(&Interest, &Options, &mut Vec<String>) -> Opened,
}

type Opened = Result<Box<dyn Engine>, SourceError>;

/// The engines of this build, the best one first.
const RUNGS: &[Rung] = &[
    #[cfg(all(feature = "ebpf", target_os = "linux"))]
    Rung {
        backend: Backend::Ebpf,
        name: "eBPF",
        xdp: true,
        open: ebpf,
    },
    Rung {
        backend: Backend::Pcap,
        name: "libpcap",
        xdp: false,
        open: |interest, _, _| Ok(Box::new(Libpcap::open(interest)?)),
    },
];

/// The programs in the kernel, at the hooks that `--xdp` asks for.
#[cfg(all(feature = "ebpf", target_os = "linux"))]
fn ebpf(interest: &Interest, options: &Options, notices: &mut Vec<String>) -> Opened {
    use crate::cli::Xdp;
    use crate::source::ebpf::{Hooks, XdpMode, open};

    let hooks = options.xdp.map_or(Hooks::Tc, |xdp| {
        Hooks::Xdp(match xdp {
            Xdp::Auto => XdpMode::Auto,
            Xdp::Native => XdpMode::Native,
            Xdp::Generic => XdpMode::Generic,
        })
    });
    let (engine, steps) = open(interest, hooks).map_err(|refusal| SourceError(refusal.0))?;
    notices.extend(steps);
    Ok(engine)
}

/// Opens the engine that the options ask for, or the first that works. Why others do not is told to `notices`.
///
/// # Errors
/// When none works: why not, of each; and when the one asked for is not in this build.
pub(super) fn open(
    interest: &Interest,
    options: &Options,
    notices: &mut Vec<String>,
) -> anyhow::Result<Box<dyn Engine>> {
    climb(RUNGS, interest, options, notices)
}

fn climb(
    rungs: &[Rung],
    interest: &Interest,
    options: &Options,
    notices: &mut Vec<String>,
) -> anyhow::Result<Box<dyn Engine>> {
    let wanted = options.backend.unwrap_or(Backend::Auto);
    let mut fit = rungs
        .iter()
        .filter(|rung| wanted == Backend::Auto || wanted == rung.backend)
        .filter(|rung| rung.xdp || options.xdp.is_none())
        .peekable();
    if fit.peek().is_none() {
        bail!("{}", lacking(options));
    }
    let mut refused: Vec<(&str, SourceError)> = Vec::new();
    while let Some(rung) = fit.next() {
        match ((rung.open)(interest, options, notices), fit.peek()) {
            (Ok(engine), _) => return Ok(engine),
            (Err(why), Some(next)) => {
                notices.push(format!(
                    "no {} here, trying {}: {why}",
                    rung.name, next.name
                ));
                refused.push((rung.name, why));
            }
            (Err(why), None) => bail!(together(&why.0, &refused)),
        }
    }
    Err(anyhow!("no capture engine is in this build"))
}

/// Why none works: the last one's reason, and those of the better ones, unless they say the same.
fn together(last: &str, better: &[(&str, SourceError)]) -> String {
    let clause = |why: &str| why.split(';').next().map(str::to_owned);
    let others = better
        .iter()
        .filter(|(_, why)| clause(&why.0) != clause(last))
        .map(|(name, why)| format!("; and no {name} here: {why}"));
    format!("{last}{}", others.collect::<String>())
}

/// No engine of this build does what was asked for.
fn lacking(options: &Options) -> String {
    match (options.xdp, options.backend) {
        (Some(_), Some(Backend::Pcap)) => {
            "--xdp is what eBPF does: leave it or --backend pcap out".to_owned()
        }
        (Some(_), _) => {
            "--xdp needs eBPF, which is not in this build: leave it out to capture with libpcap"
                .to_owned()
        }
        _ => "--backend ebpf: eBPF is not in this build; --backend pcap captures with libpcap"
            .to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn options(args: &str) -> Options {
        let words = std::iter::once("tcpkit").chain(args.split_whitespace());
        match parse(words.map(Into::into)) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    const REFUSES: Rung = Rung {
        backend: Backend::Ebpf,
        name: "eBPF",
        xdp: true,
        open: |_, _, _| Err(SourceError("the kernel says no".to_owned())),
    };

    const REFUSES_TOO: Rung = Rung {
        backend: Backend::Pcap,
        name: "libpcap",
        xdp: false,
        open: |_, _, _| Err(SourceError("CAP_NET_RAW".to_owned())),
    };

    fn refused(rungs: &[Rung], args: &str) -> (String, Vec<String>) {
        let mut notices = Vec::new();
        let result = climb(rungs, &Interest::default(), &options(args), &mut notices);
        (result.err().unwrap().to_string(), notices)
    }

    #[test]
    fn a_step_down_says_why() {
        let (error, notices) = refused(&[REFUSES, REFUSES_TOO], "-i lo");
        assert_eq!(error, "CAP_NET_RAW; and no eBPF here: the kernel says no");
        assert_eq!(
            notices,
            ["no eBPF here, trying libpcap: the kernel says no"]
        );
    }

    #[test]
    fn what_all_of_them_say_is_told_once() {
        let nowhere = Rung {
            open: |_, _, _| Err(SourceError("CAP_NET_RAW; there are lo".to_owned())),
            ..REFUSES
        };
        let (error, _) = refused(&[nowhere, REFUSES_TOO], "-i lo");
        assert_eq!(error, "CAP_NET_RAW");
    }

    #[test]
    fn what_was_asked_for_alone_is_tried() {
        for args in ["-i lo --backend ebpf", "-i lo --xdp"] {
            let (error, notices) = refused(&[REFUSES, REFUSES_TOO], args);
            assert_eq!((error.as_str(), notices.len()), ("the kernel says no", 0));
        }
    }

    #[test]
    fn what_this_build_lacks_is_named() {
        for (args, option) in [
            ("-i lo --backend ebpf", "--backend ebpf"),
            ("-i lo --xdp", "--xdp"),
            ("-i lo --xdp --backend pcap", "--xdp"),
        ] {
            let (error, _) = refused(&[REFUSES_TOO], args);
            assert!(error.starts_with(option), "{error}");
        }
    }
}
