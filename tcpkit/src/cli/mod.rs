//! The command line: one definition, from which parsing, help, completions and man page come.
//!
//! Reads the program's arguments, makes a [`Command`] with typed values. A wrong value is a
//! [`clap::Error`] that names the option, the value and what is accepted.

mod options;
mod page;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests;
mod values;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::source::shown;
pub use clap_complete::Shell;

pub use options::Options;
pub use values::{Backend, Format, Keys, Mode, PortSpec, StatsAddress, Xdp};

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Capture or read, pair, report.
    Run(Box<Options>),
    /// Tell what this host can do.
    Doctor {
        /// Look at this interface alone.
        interface: Option<String>,
        /// Remove what earlier runs may have left in the kernel.
        clean: bool,
    },
    /// The terminal view.
    Top {
        /// As for a run.
        options: Box<Options>,
        /// Show the statistics of a tcpkit that runs there.
        from: Option<SocketAddr>,
    },
    /// Print a completion script.
    Completions(Shell),
    /// Print the man page.
    Man,
}

impl Command {
    /// What was asked for and is not in this build, a sentence for the user.
    pub fn lacking(&self) -> Option<String> {
        match self {
            Self::Run(options) | Self::Top { options, .. } => options.lacking(),
            Self::Doctor { .. } | Self::Completions(_) | Self::Man => None,
        }
    }
}

/// Ends as clap does; but its colours are kept only where the user's own words have nothing that a terminal would act on.
pub fn exit(error: &clap::Error) -> ! {
    let acts = |arg: OsString| arg.to_string_lossy().contains(char::is_control);
    if error.use_stderr() && std::env::args_os().any(acts) {
        let text = error.render().to_string();
        // Nobody may read it: that is no failure.
        let _ = io::stderr().write_all(shown::sentence(&text).as_bytes());
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// Parses the arguments, the program's name first.
///
/// # Errors
/// A wrong command line; and `--help` and `--version`, which clap tells in the same way: [`exit`] does the right thing with each.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, clap::Error> {
    let matches = definition().try_get_matches_from(args)?;
    check_order(&matches)?;
    let line = Line::from_arg_matches(&matches)?;
    let command = line.into_command();
    let checked = match &command {
        Command::Run(options) => options.check(),
        Command::Top { options, from } => options
            .check()
            .and_then(|()| options.check_top(from.is_some())),
        _ => Ok(()),
    };
    checked.map_err(|text| error(ErrorKind::ValueValidation, text))?;
    Ok(command)
}

/// The scripts that the arguments name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedScripts {
    /// Their files.
    pub paths: Vec<PathBuf>,
    /// Everything is allowed to them.
    pub allow_all: bool,
    /// They are for a live capture.
    pub live: bool,
    /// The run goes into the background; before that no thread may be started.
    pub background: bool,
}

/// The scripts that the arguments name. They are looked for
/// first, since they may teach the protocols that other arguments name; what is wrong with the arguments
/// is told by [`parse`].
pub fn scripts(args: impl Iterator<Item = OsString>) -> AskedScripts {
    let any = |arg: clap::Arg| arg.value_parser(clap::value_parser!(OsString));
    let command = definition().mut_arg("mode", any).mut_arg("ports", any);
    let Ok(matches) = command.try_get_matches_from(args) else {
        return AskedScripts::default();
    };
    let scripts = matches.get_many::<PathBuf>("scripts").into_iter().flatten();
    AskedScripts {
        paths: scripts.cloned().collect(),
        allow_all: matches.get_flag("lua_unsafe"),
        live: !matches.contains_id("read"),
        background: matches.get_flag("daemonize"),
    }
}

/// The completion script for `shell`.
pub fn completions(shell: Shell) -> Vec<u8> {
    page::completions(definition(), shell)
}

/// The man page, as roff.
///
/// # Errors
/// None that can happen: it is written to memory.
pub fn man() -> io::Result<Vec<u8>> {
    page::man(definition())
}

fn error(kind: ErrorKind, text: impl std::fmt::Display) -> clap::Error {
    definition().error(kind, text)
}

/// Options of a subcommand come after it. Without this check those before it would be dropped.
fn check_order(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, _)) = matches.subcommand() else {
        return Ok(());
    };
    let given = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    if matches.ids().any(given) {
        let text = format!("options come after the subcommand: tcpkit {name} [OPTIONS]");
        return Err(error(ErrorKind::ArgumentConflict, text));
    }
    Ok(())
}

/// The definition. What looks like a negative number is a value, so that the error says what is accepted.
fn definition() -> clap::Command {
    let with_negatives = |arg: clap::Arg| {
        let takes = arg.get_action().takes_values() && !arg.is_positional();
        arg.allow_negative_numbers(takes)
    };
    Line::command()
        .mut_args(with_negatives)
        .mut_subcommand("top", |top| top.mut_args(with_negatives))
}

const ABOUT: &str = "Tells which requests were slow, and why, from the packets alone";

const LONG_ABOUT: &str = "Tells which requests were slow, and why, from the packets alone.\n\n\
    Pairs every request with its own response, also pipelined, split, retransmitted, reordered or \
    partly lost, and says what could not be seen.";

const USAGE: &str = "tcpkit [OPTIONS] [FILTER]...\n       \
    tcpkit doctor [-i IF] [--clean]\n       \
    tcpkit top [OPTIONS] [--from ADDR:PORT]\n       \
    tcpkit completions SHELL\n       \
    tcpkit man";

/// The definition that everything is made from.
#[derive(Parser)]
#[command(name = "tcpkit", bin_name = "tcpkit", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(override_usage = USAGE, after_help = page::examples(), max_term_width = 100)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true
)]
struct Line {
    #[command(subcommand)]
    subcommand: Option<Subcommand>,

    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    help: Help,

    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version, help_heading = "Help")]
    version: Option<bool>,
}

#[derive(clap::Args)]
struct Help {
    /// Print help; -h is the short form
    #[arg(short, long, action = ArgAction::Help, help_heading = "Help")]
    help: Option<bool>,
}

#[derive(clap::Subcommand)]
#[command(disable_help_flag = true)]
enum Subcommand {
    /// Tell what this host can do, and why not the rest
    #[command(disable_help_flag = true)]
    Doctor {
        /// Look at this interface alone
        #[arg(short, long, value_name = "IF")]
        interface: Option<String>,
        /// Remove what earlier runs may have left in the kernel
        #[arg(long)]
        clean: bool,
        #[command(flatten)]
        help: Help,
    },
    /// Show a live view in the terminal
    #[command(disable_help_flag = true)]
    Top {
        /// Show the statistics of a tcpkit that runs there
        #[arg(long, value_name = "ADDR:PORT", value_parser = values::address)]
        from: Option<SocketAddr>,
        #[command(flatten)]
        options: Box<Options>,
        #[command(flatten)]
        help: Help,
    },
    /// Print a completion script for a shell
    #[command(disable_help_flag = true)]
    Completions {
        /// Which shell
        shell: Shell,
        #[command(flatten)]
        help: Help,
    },
    /// Print the man page
    #[command(disable_help_flag = true)]
    Man {
        #[command(flatten)]
        help: Help,
    },
}

impl Line {
    fn into_command(self) -> Command {
        match self.subcommand {
            None => Command::Run(Box::new(self.options)),
            Some(Subcommand::Doctor {
                interface, clean, ..
            }) => Command::Doctor { interface, clean },
            Some(Subcommand::Top { options, from, .. }) => Command::Top { options, from },
            Some(Subcommand::Completions { shell, .. }) => Command::Completions(shell),
            Some(Subcommand::Man { .. }) => Command::Man,
        }
    }
}
