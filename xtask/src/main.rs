//! The project's own commands, one file each: `cargo xtask COMMAND`.

mod apt;
mod bench;
mod bless;
mod ci;
mod dist;
mod ebpf;
mod fuzz;
mod packages;
mod portable;
mod record;
mod rooms;
mod run;
mod shell;
mod test;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing, build tcpkit in release mode and run it
    Run(run::Options),
    /// Install what is missing and pass all tests
    Test(test::Options),
    /// Everything that a change has to pass
    Ci,
    /// Build the programs for the kernel, and keep the object that tcpkit embeds
    Ebpf(ebpf::Options),
    /// Build the fuzz targets with coverage, and run them
    Fuzz(fuzz::Options),
    /// Make the static binary and the Debian package, and check them
    Dist,
    /// Check that a room of the library names only the rooms before it
    Rooms,
    /// Check that the program builds for other systems
    Portable,
    /// Pass the tests in the kernel on the kernels of Debian's releases, in QEMU
    Vm(vm::Options),
    /// Rewrite the expected output of the golden cases
    Bless,
    /// Record the golden cases again, from real servers
    Record(record::Options),
    /// Measure speed (as ratios to tcpdump in the same run), memory, and what statistics cost
    Bench(bench::Options),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run(options) => run::main(&options),
        Command::Test(options) => test::main(&options),
        Command::Ci => ci::main(),
        Command::Ebpf(options) => ebpf::main(&options),
        Command::Fuzz(options) => fuzz::main(&options),
        Command::Dist => dist::main(),
        Command::Rooms => rooms::main(),
        Command::Portable => portable::main(),
        Command::Vm(options) => vm::main(&options),
        Command::Bless => bless::main(),
        Command::Record(options) => record::main(&options),
        Command::Bench(options) => bench::main(&options),
    }
}
