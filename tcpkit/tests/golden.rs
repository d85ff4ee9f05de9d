//! The golden cases: the text that tcpkit prints for a recording is the text that is kept.
//!
//! `cargo xtask bless` rewrites `expected.txt`; `cargo xtask record` records a case again.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod support;

use support::cases::Case;
use support::tcpkit;
use tcpkit::protocol::PROTOCOLS;

#[test]
fn the_output_is_the_expected_one_at_any_number_of_threads() {
    let mut wrong = Vec::new();
    for case in Case::all() {
        for threads in ["1", "2", "3"] {
            let printed = printed(&case, threads, &[]);
            if printed != case.text("expected.txt") {
                wrong.push(format!(
                    "{} -j {threads}: {}",
                    case.name,
                    difference(&case, &printed)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "`cargo xtask bless` accepts these:\n{}",
        wrong.join("\n")
    );
}

/// A run that prints has one worker; one that only counts has as many as are asked for.
#[test]
fn what_is_counted_does_not_depend_on_the_number_of_threads() {
    for case in Case::all() {
        let args = case.text_args();
        let quiet = if args.iter().any(|arg| arg == "-q") {
            &[][..]
        } else {
            &["-q"]
        };
        let alone = printed(&case, "1", quiet);
        for threads in ["2", "3", "16"] {
            let printed = printed(&case, threads, quiet);
            assert_eq!(printed, alone, "{} -j {threads}", case.name);
        }
    }
}

fn printed(case: &Case, threads: &str, more: &[&str]) -> String {
    let mut command = tcpkit();
    // As `cargo xtask bless` runs it, from the case's folder.
    command
        .current_dir(case.path(""))
        .args(["-r", "input.pcap", "-j", threads]);
    let output = command
        .args(case.args())
        .args(case.text_args())
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {}\n{said}",
        case.name,
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The first line that differs.
fn difference(case: &Case, printed: &str) -> String {
    let expected = case.text("expected.txt");
    let mut lines = expected.lines().zip(printed.lines()).enumerate();
    match lines.find(|(_, (expected, printed))| expected != printed) {
        Some((number, (expected, printed))) => {
            format!(
                "line {}\n  expected {expected}\n  printed  {printed}",
                number + 1
            )
        }
        None => format!(
            "{} lines, not {}",
            printed.lines().count(),
            expected.lines().count()
        ),
    }
}

#[test]
fn every_case_is_whole() {
    for case in Case::all() {
        for file in ["input.pcap", "args", "truth.json", "README", "expected.txt"] {
            assert!(case.path(file).is_file(), "{}: no {file}", case.name);
        }
    }
}

#[test]
fn every_protocol_has_a_case() {
    let cases = Case::all();
    for protocol in PROTOCOLS {
        let has_one = cases
            .iter()
            .any(|case| case.truth()["protocol"] == protocol.name());
        assert!(has_one, "no case of {}", protocol.name());
    }
}

#[test]
fn no_secret_is_printed() {
    for case in Case::all() {
        let truth = case.truth();
        let Some(secrets) = truth["secrets"].as_array() else {
            continue;
        };
        let mut command = tcpkit();
        command
            .arg("-r")
            .arg(case.input())
            .args(case.args())
            .args(["--format", "json"]);
        let json = command.arg("--include-blocking").output().unwrap();
        let json = String::from_utf8(json.stdout).unwrap();
        for secret in secrets
            .iter()
            .map(|secret| secret.as_str().unwrap_or_else(|| panic!()))
        {
            for (form, text) in [("JSON", &json), ("text", &printed(&case, "1", &[]))] {
                assert!(
                    !text.contains(secret),
                    "{}: {form} shows {secret}",
                    case.name
                );
            }
        }
    }
}
