//! What is made from the definition beside the parser: examples, completions, the man page.

use std::io;

use clap::{Arg, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

/// A command line, its program's name left out, and what it does.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    (
        "-r redis.pcap",
        "every request of a capture file and its latency",
    ),
    (
        "-r day.pcapng.zst -t 10 -q",
        "a summary; slow is 10 ms and more",
    ),
    (
        "-r all.pcap -p 7000-7005=redis,8080=http --errors",
        "the failed requests of these ports",
    ),
    (
        "-r dns.pcap -m dns --format json",
        "one JSON object an exchange",
    ),
    (
        "-r big.pcap -p 6379 -w one.pcap host 192.0.2.7",
        "also save the frames of one host",
    ),
    ("-r - -m http", "from standard input"),
    ("-i eth0 -p 6379 -t 10", "live: what takes 10 ms and more"),
    ("top -i eth0 -p 6379", "live, as a picture in the terminal"),
];

/// The end of the help.
pub(super) fn examples() -> String {
    let lines = EXAMPLES
        .iter()
        .map(|(args, what)| format!("\n  tcpkit {args}\n      {what}"));
    std::iter::once("Examples:".to_owned())
        .chain(lines)
        .collect()
}

/// The completion script for `shell`.
pub(super) fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    // Made in memory: the generator panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tcpkit", &mut script);
    match (shell, String::from_utf8(script)) {
        (Shell::Zsh, Ok(script)) => for_zsh(&script).into_bytes(),
        (Shell::Fish, Ok(script)) => for_fish(&script).into_bytes(),
        (_, Ok(script)) => script.into_bytes(),
        (_, Err(script)) => script.into_bytes(),
    }
}

/// A filter takes the place of a subcommand's name there: without it subcommands complete.
fn for_zsh(script: &str) -> String {
    let lines = script.split_inclusive('\n');
    let kept = lines.filter(|line| !line.starts_with("'::filter -- "));
    kept.collect::<String>().replace("$line[2]", "$line[1]")
}

/// An option whose value is still to come is no error there, and shells are values.
fn for_fish(script: &str) -> String {
    let parse = "argparse -s (__fish_tcpkit_global_optspecs) -- $cmd";
    let found = format!("    {parse} 2>/dev/null\n");
    let either = format!("{found}    or {parse} '' 2>/dev/null\n");
    let shells = Shell::value_variants().iter().map(Shell::to_string);
    let shells: Vec<String> = shells.collect();
    let shells = shells.join(" ");
    script.replace(&found, &either)
        + &format!(
            "complete -c tcpkit -n '__fish_tcpkit_using_subcommand completions' -f -a '{shells}'\n"
        )
}

/// The man page, as roff: one page for all subcommands.
pub(super) fn man(mut command: Command) -> io::Result<Vec<u8>> {
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(subcommands(&command).as_bytes());
    let examples = EXAMPLES
        .iter()
        .map(|(args, what)| item(&format!("tcpkit {args}"), what));
    page.extend_from_slice(section("EXAMPLES", examples).as_bytes());
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// Every subcommand, and of its arguments those that a run has not.
fn subcommands(command: &Command) -> String {
    let known = |arg: &Arg| {
        command
            .get_arguments()
            .any(|of_run| of_run.get_id() == arg.get_id())
    };
    let items = command.get_subcommands().flat_map(move |sub| {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let head = item(&format!("tcpkit {}", sub.get_name()), &about);
        let own = sub.get_arguments().filter(move |arg| !known(arg));
        std::iter::once(head).chain(own.map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            format!(".RS\n{}.RE\n", item(&arg.to_string(), &help))
        }))
    });
    section("SUBCOMMANDS", items)
}

fn section(title: &str, items: impl Iterator<Item = String>) -> String {
    std::iter::once(format!(".SH {title}\n"))
        .chain(items)
        .collect()
}

fn item(head: &str, text: &str) -> String {
    format!(".TP\n\\fB{}\\fR\n{}\n", escape(head), escape(text))
}

/// No text of ours begins a line with a dot or a quote, so these two are all that roff acts on.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}
