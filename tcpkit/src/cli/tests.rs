//! Laws over the definition, and what single values mean.

use std::collections::HashSet;
use std::time::Duration;

use clap::Arg;

use super::*;

fn line(args: &str) -> Result<Command, clap::Error> {
    parse(
        std::iter::once("tcpkit")
            .chain(args.split_whitespace())
            .map(OsString::from),
    )
}

fn run(args: &str) -> Options {
    match line(args) {
        Ok(Command::Run(options)) => *options,
        other => panic!("{args}: {other:?}"),
    }
}

fn refused(args: &str) -> String {
    match line(args) {
        Ok(command) => panic!("{args}: {command:?}"),
        Err(error) => error.to_string(),
    }
}

/// The definition with what clap adds itself.
fn built() -> clap::Command {
    let mut command = definition();
    command.build();
    command
}

fn options(command: &clap::Command) -> Vec<&Arg> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_positional())
        .collect()
}

/// The table of the specification: letter, name, whether it takes a value.
const TABLE: &[(Option<char>, &str, bool)] = &[
    (Some('i'), "interface", true),
    (Some('r'), "read", true),
    (Some('p'), "ports", true),
    (Some('s'), "servers", true),
    (Some('m'), "mode", true),
    (Some('u'), "udp", false),
    (Some('t'), "threshold", true),
    (None, "timeout", true),
    (None, "command", true),
    (None, "client", true),
    (None, "errors", false),
    (None, "include-blocking", false),
    (Some('q'), "quiet", false),
    (Some('S'), "script", true),
    (None, "lua-unsafe", false),
    (Some('P'), "stats", true),
    (None, "linger", false),
    (None, "keys", true),
    (None, "otlp", true),
    (Some('w'), "write", true),
    (None, "write-size", true),
    (None, "write-files", true),
    (Some('B'), "buffer-size", true),
    (Some('o'), "output", true),
    (Some('d'), "daemonize", false),
    (None, "xdp", true),
    (None, "backend", true),
    (None, "snaplen", true),
    (Some('c'), "count", true),
    (None, "duration", true),
    (None, "interval", true),
    (None, "format", true),
    (Some('j'), "threads", true),
    (Some('v'), "version", false),
    (Some('h'), "help", false),
];

#[test]
fn the_definition_is_consistent() {
    definition().debug_assert();
}

#[test]
fn every_option_of_the_table_is_there_and_no_other() {
    let command = built();
    let there: HashSet<_> = options(&command)
        .into_iter()
        .map(|arg| {
            (
                arg.get_short(),
                arg.get_long().unwrap(),
                arg.get_action().takes_values(),
            )
        })
        .collect();
    assert_eq!(there, TABLE.iter().copied().collect());
}

#[test]
fn each_option_has_at_most_one_letter_unique_and_one_help_line() {
    let command = built();
    let mut letters = HashSet::new();
    let mut names = HashSet::new();
    for arg in options(&command) {
        let name = arg.get_long().unwrap();
        assert!(names.insert(name), "{name}");
        assert_eq!(arg.get_all_short_aliases(), None, "{name}");
        assert!(
            arg.get_short().is_none_or(|letter| letters.insert(letter)),
            "{name}"
        );
        let help = arg.get_help().unwrap().to_string();
        assert!(
            !help.is_empty() && !help.contains('\n') && !help.ends_with('.'),
            "{name}: {help}"
        );
        assert!(help.chars().count() <= 80, "{name}: {help}");
        assert!(
            arg.get_help_heading().is_some(),
            "{name} stands under no heading"
        );
    }
}

#[test]
fn without_arguments_all_is_default() {
    let options = run("");
    assert_eq!(options.timeout, Duration::from_secs(60));
    assert_eq!(options.format, Format::Text);
    assert!(options.interfaces.is_empty() && options.ports.is_empty() && options.stats.is_empty());
    assert_eq!(
        (options.mode, options.threshold, options.threads),
        (None, None, None)
    );
}

#[test]
fn values_are_typed() {
    let options = run(
        "-r a.pcap -p 6379,7000-7005=redis -p 53=dns -s 10.0.0.1,fe80::/10 -m http -t 5 -P 1234 \
         -P [::1]:5 --keys=hash -w x.pcapng --write-size 100M --write-files 3 -c 7 --duration 2 \
         --interval 1m --format json -j 4 -o out --snaplen 128 -S a.lua -S b.lua --lua-unsafe \
         --command get,SET --client 192.0.2.0/24 --errors --include-blocking -q --linger",
    );
    let ports: Vec<_> = options.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["6379", "7000-7005=redis", "53=dns"]);
    assert!(options.ports[1].contains(7003) && !options.ports[1].contains(7006));
    let servers: Vec<_> = options.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1/32", "fe80::/10"]);
    assert_eq!(options.mode.map(Mode::name), Some("http"));
    assert_eq!(options.threshold, Some(Duration::from_millis(5)));
    let stats = ["127.0.0.1:1234", "[::1]:5"].map(|text| StatsAddress::At(text.parse().unwrap()));
    assert_eq!(options.stats, stats);
    assert_eq!(options.keys, Some(Keys::Hash));
    assert_eq!(
        (options.write_size, options.write_files),
        (Some(100 << 20), Some(3))
    );
    assert_eq!(
        (options.count, options.duration),
        (Some(7), Some(Duration::from_secs(2)))
    );
    assert_eq!(options.interval, Some(Duration::from_secs(60)));
    assert_eq!((options.format, options.threads), (Format::Json, Some(4)));
    assert_eq!((options.snaplen, options.scripts.len()), (Some(128), 2));
    assert_eq!(options.commands, ["get", "SET"]);
    assert_eq!(options.clients, ["192.0.2.0/24".parse().unwrap()]);
    assert!(options.errors && options.include_blocking && options.quiet && options.linger);
}

#[test]
fn values_that_may_be_left_out() {
    assert_eq!(run("--xdp").xdp, Some(Xdp::Auto));
    assert_eq!(run("--xdp=native").xdp, Some(Xdp::Native));
    assert_eq!(run("--keys").keys, Some(Keys::Plain));
    // What follows is a filter, not their value.
    let options = run("--xdp --keys tcp port 80");
    assert_eq!(options.filter, ["tcp", "port", "80"]);
}

#[test]
fn a_bare_number_is_milliseconds_for_the_threshold_and_seconds_elsewhere() {
    for (text, nanoseconds) in [
        ("10", 10_000_000),
        ("0", 0),
        ("0.5", 500_000),
        ("250us", 250_000),
        ("0.5ms", 500_000),
        ("1.000000001s", 1_000_000_001),
        ("7ns", 7),
        ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000),
    ] {
        let expected = Some(Duration::from_nanos(nanoseconds));
        assert_eq!(run(&format!("-t {text}")).threshold, expected, "{text}");
    }
    assert_eq!(run("--timeout 5").timeout, Duration::from_secs(5));
    assert_eq!(run("--timeout 5ms").timeout, Duration::from_millis(5));
}

#[test]
fn a_wrong_value_names_the_option_the_value_and_what_is_accepted() {
    for (args, expected) in [
        ("-t fast", &["'fast'", "--threshold", "250us"][..]),
        ("-t 1.2.3", &["'1.2.3'", "--threshold", "milliseconds"]),
        ("-t 99999999999999999999", &["--threshold", "milliseconds"]),
        ("-t .5", &["'.5'", "--threshold", "0.5ms"]),
        ("--timeout 0", &["'0'", "--timeout", "seconds", "above 0"]),
        ("--duration 5d", &["'5d'", "--duration", "1h"]),
        ("--interval -", &["'-'", "--interval", "1h"]),
        ("--interval 0", &["'0'", "--interval", "above 0"]),
        (
            "--interval 1.5s",
            &["'1.5s'", "--interval", "whole seconds"],
        ),
        ("-p 0", &["'0'", "--ports", "1 to 65535"]),
        ("-p 65536", &["'65536'", "--ports", "1 to 65535"]),
        ("-p 10-5", &["'10-5'", "--ports", "ends before it begins"]),
        ("-p 6379,x", &["'x'", "--ports", "PORT=PROTOCOL"]),
        (
            "-p 6379=ssh",
            &[
                "'6379=ssh'",
                "--ports",
                "`ssh`",
                "redis",
                "memcached",
                "http",
                "dns",
            ],
        ),
        (
            "-m ssh",
            &[
                "'ssh'",
                "--mode",
                "auto",
                "raw",
                "redis",
                "memcached",
                "http",
                "dns",
            ],
        ),
        (
            "-s example.com",
            &["'example.com'", "--servers", "10.0.0.0/8"],
        ),
        (
            "-s 10.0.0.0/33",
            &["'10.0.0.0/33'", "--servers", "10.0.0.0/8"],
        ),
        ("--client x", &["'x'", "--client", "IPv6"]),
        (
            "-P localhost:80",
            &["'localhost:80'", "--stats", "192.0.2.1:PORT", "off"],
        ),
        ("-P 0", &["'0'", "--stats", "1 to 65535"]),
        ("--keys=sha", &["'sha'", "--keys", "plain", "hash"]),
        ("--xdp=fast", &["'fast'", "--xdp", "native", "generic"]),
        ("--backend x", &["'x'", "--backend", "auto", "ebpf", "pcap"]),
        ("--format xml", &["'xml'", "--format", "text", "json"]),
        (
            "--otlp collector:4318",
            &["'collector:4318'", "--otlp", "http://"],
        ),
        ("--otlp http://:4318", &["'http://:4318'", "--otlp"]),
        ("--otlp http://c:99999", &["'http://c:99999'", "--otlp"]),
        ("--otlp http://me:secret@c", &["--otlp", "OTLP_HEADERS"]),
        ("--otlp http://c/?a=b", &["'http://c/?a=b'", "--otlp"]),
        ("--otlp ftp://c", &["'ftp://c'", "https://"]),
        ("--snaplen 0", &["'0'", "--snaplen", "from 1 to 262144"]),
        (
            "-B 9999999999",
            &["'9999999999'", "--buffer-size", "from 1 to 4194304"],
        ),
        ("-c none", &["'none'", "--count", "from 1"]),
        ("-c -1", &["'-1'", "--count", "from 1"]),
        ("-t -5", &["'-5'", "--threshold", "0.5ms"]),
        ("-p -1", &["'-1'", "--ports", "1 to 65535"]),
        ("top --interval -2", &["'-2'", "--interval", "above 0"]),
        ("-c 0", &["'0'", "--count", "from 1"]),
        ("-j 0", &["'0'", "--threads", "from 1 to 1024"]),
        ("-w x --write-size 10X", &["'10X'", "--write-size", "100M"]),
        ("-w x --write-size 99999999999G", &["--write-size", "100M"]),
        (
            "-w x --write-size 1M --write-files 0",
            &["'0'", "--write-files", "from 1"],
        ),
        ("--nonsense", &["'--nonsense'"]),
    ] {
        let error = refused(args);
        for part in expected {
            assert!(error.contains(part), "`{args}` lacks {part}: {error}");
        }
    }
}

#[test]
fn values_that_do_not_fit_each_other_are_refused() {
    for (args, expected) in [
        ("-r x -i eth0", &["--read", "--interface"][..]),
        ("-r x --xdp", &["--read", "--xdp"]),
        ("-r x --backend pcap", &["--read", "--backend"]),
        ("-r x -B 1024", &["--read", "--buffer-size"]),
        (
            "-p 80=http,70-90=redis",
            &["--ports", "80=http", "70-90=redis", "one protocol"],
        ),
        ("-p 1-9=http,2-3,5=http,8=dns", &["1-9=http", "8=dns"]),
        ("-u -m redis", &["--udp", "redis", "TCP"]),
        ("-u -p 80=http", &["--udp", "http", "TCP"]),
        ("-P off -P 1234", &["--stats", "off"]),
        ("--write-size 1M", &["--write"]),
        ("-w x --write-files 2", &["--write-size"]),
        ("-w - --write-size 1M", &["--write-size", "standard output"]),
        ("-o x -w x", &["--output", "--write", "same file"]),
        ("-o - -w -", &["--output", "--write", "same file"]),
        ("-d -w -", &["--write -", "--daemonize"]),
        ("-d -o -", &["--output -", "--daemonize"]),
        ("-m raw -c 3", &["--count", "--mode raw"]),
        ("-p 1=raw,2-3=raw -c 3", &["--count", "raw"]),
        ("-m raw --errors", &["--errors", "--mode raw"]),
        ("-m raw --command get", &["--command", "--mode raw"]),
        ("--lua-unsafe", &["--script"]),
        ("-r x --linger", &["--stats"]),
        ("-q doctor", &["doctor", "after the subcommand"]),
        ("-r x -r y", &["--read", "multiple times"]),
    ] {
        let error = refused(args);
        for part in expected {
            assert!(error.contains(part), "`{args}` lacks {part}: {error}");
        }
    }
    run("-p 80=http,70-90 -p 80=http");
    run("-u -m dns -p 53=dns");
    run("-u -m raw");
    run("-m raw -p 80=http -c 3");
    run("-p 80=raw,81 -c 3");
    run("-p 80=raw,81 --errors --command GET");
    run("-o /dev/null -w /dev/null");
}

#[test]
fn subcommands_are_recognised_first() {
    assert!(matches!(
        line("doctor"),
        Ok(Command::Doctor {
            interface: None,
            clean: false
        })
    ));
    assert!(matches!(
        line("doctor -i lo --clean"),
        Ok(Command::Doctor {
            interface: Some(_),
            clean: true
        })
    ));
    assert!(matches!(
        line("completions bash"),
        Ok(Command::Completions(Shell::Bash))
    ));
    assert!(matches!(line("man"), Ok(Command::Man)));
    let Ok(Command::Top { options, from }) = line("top -p 6379 --from 192.0.2.1:33333") else {
        panic!("no top");
    };
    assert_eq!(
        (options.ports.len(), from.map(|from| from.port())),
        (1, Some(33333))
    );
    assert!(refused("top -u -m redis").contains("TCP"));
    for (args, option) in [
        ("top -S a.lua", "--script"),
        ("top -d", "--daemonize"),
        ("top -r x -w -", "--write -"),
        ("top -r x -o -", "--output -"),
        ("top -r x --from 192.0.2.1:33333", "--read"),
        ("top -i lo --from 192.0.2.1:33333", "--interface"),
    ] {
        let text = refused(args);
        assert!(
            text.contains(option) && text.contains("top"),
            "{args}: {text}"
        );
    }
}

#[test]
fn a_filter_may_begin_with_the_name_of_a_subcommand_behind_two_dashes() {
    assert_eq!(run("-r x -- top or doctor").filter, ["top", "or", "doctor"]);
    assert_eq!(run("-r top host man").filter, ["host", "man"]);
    assert_eq!(run("tcp port 80 -q").filter, ["tcp", "port", "80"]);
    assert_eq!(run("help").filter, ["help"]);
}

#[test]
fn help_and_version() {
    for (args, kind) in [
        ("-h", ErrorKind::DisplayHelp),
        ("--help", ErrorKind::DisplayHelp),
        ("-v", ErrorKind::DisplayVersion),
        ("--version", ErrorKind::DisplayVersion),
        ("top -h", ErrorKind::DisplayHelp),
        ("doctor --help", ErrorKind::DisplayHelp),
        ("-V", ErrorKind::UnknownArgument),
    ] {
        assert_eq!(line(args).unwrap_err().kind(), kind, "{args}");
    }
    let (short, long) = (refused("-h"), refused("--help"));
    assert!(short.len() < long.len());
    for text in [&short, &long] {
        for heading in [
            "Usage:",
            "What to monitor:",
            "Statistics:",
            "Help:",
            "Examples:",
        ] {
            assert!(text.contains(heading), "{heading} is missing from\n{text}");
        }
    }
}

#[test]
fn the_name_is_ours_whatever_the_program_file_is_called() {
    let args = ["/opt/other", "top", "-V"].map(OsString::from);
    assert!(
        parse(args.into_iter())
            .unwrap_err()
            .to_string()
            .contains("Usage: tcpkit top")
    );
}

#[test]
fn the_examples_of_the_help_are_accepted() {
    for (args, _) in page::EXAMPLES {
        line(args).unwrap_or_else(|error| panic!("{args}: {error}"));
        assert!(refused("-h").contains(args));
    }
}

#[test]
fn completions_and_man_page_know_every_option() {
    let script = String::from_utf8(completions(Shell::Bash)).unwrap();
    let page = String::from_utf8(man().unwrap())
        .unwrap()
        .replace("\\-", "-");
    for (_, name, _) in TABLE {
        assert!(
            script.contains(&format!("--{name}")),
            "completions lack {name}"
        );
        assert!(page.contains(&format!("--{name}")), "man page lacks {name}");
    }
    for part in [
        "tcpkit doctor",
        "--clean",
        "tcpkit top",
        "--from",
        "EXAMPLES",
        "-r redis.pcap",
    ] {
        assert!(page.contains(part), "man page lacks {part}");
    }
}

/// What is changed in the scripts of two shells is still there to be changed.
#[test]
fn subcommands_and_values_complete() {
    let script = |shell| String::from_utf8(completions(shell)).unwrap();
    let zsh = script(Shell::Zsh);
    assert!(zsh.contains("case $line[1] in") && !zsh.contains("'::filter"));
    let fish = script(Shell::Fish);
    assert!(fish.contains("-- $cmd '' 2>/dev/null"));
    assert!(fish.contains("using_subcommand completions' -f -a 'bash"));
}

#[test]
fn what_this_build_lacks_is_said() {
    for args in [
        "-r x",
        "-i eth0 -d",
        "-i eth0 -P 1234",
        "",
        #[cfg(feature = "lua")]
        "-r x -S a.lua --lua-unsafe",
        "-r x -P off -q -t 1 --interval 5 -c 9 --duration 1",
        "-r x -P 1234 --keys=hash --linger",
        "-i eth0 --otlp http://collector",
        "man",
        "top",
        "top --from 192.0.2.1:33333",
    ] {
        assert_eq!(line(args).unwrap().lacking(), None, "{args}");
    }
}

/// They may teach protocols that other arguments name, so they are found before those are understood.
#[test]
fn scripts_are_found_whatever_else_is_said() {
    let words = "tcpkit -r x -m taught -S a.lua -p 1=taught --script b.lua --lua-unsafe";
    let asked = scripts(words.split(' ').map(OsString::from));
    let paths = ["a.lua", "b.lua"].map(PathBuf::from);
    assert_eq!(asked.paths, paths);
    assert!(asked.allow_all && !asked.live);
    let wrong = scripts("tcpkit --no-such -S a.lua".split(' ').map(OsString::from));
    assert_eq!(wrong, AskedScripts::default());
}
