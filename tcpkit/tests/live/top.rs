//! `tcpkit top` over a live capture: what it shows is what the server counted, and goes on while it is looked at.

use crate::clients;
use crate::net::{Namespace, privileged};
use crate::servers::Redis;
use crate::support::PATIENCE;
use crate::support::window::Window;

/// The engines that do not share their way through the kernel.
const ENGINES: [&str; 2] = ["ebpf", "pcap"];

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The row that begins so, once it is there.
fn wait_for_row(window: &Window, row: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let shown = window.tmux(&["capture-pane", "-p"]);
        if let Some(line) = shown.lines().find(|line| words(line).starts_with(row)) {
            return words(line);
        }
        assert!(begun.elapsed() < PATIENCE, "no `{row}` in\n{shown}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn it_shows_what_the_server_counts() {
    if !privileged() {
        return;
    }
    for engine in ENGINES {
        let namespace = Namespace::new();
        let redis = Redis::start(&namespace);
        redis.forget();
        let args = format!("-i lo -p 6379 --backend {engine} -P off");
        let window = Window::open_by(&namespace.entered(), engine, (120, 50), &args);
        window.wait_for("capturing with");
        for turn in 1..=2 {
            clients::redis(&namespace, "127.0.0.1", 300, 1, 10);
            for command in ["SET", "GET"] {
                assert_eq!(redis.calls(command), turn * 300, "{engine}: {command}");
                let row = format!("{command} redis {} ", turn * 300);
                let row = wait_for_row(&window, &row);
                assert!(
                    row.contains(" 0 0 "),
                    "neither errors nor unanswered: {row}"
                );
            }
        }
        window.tmux(&["send-keys", "/", "get", "Enter"]);
        let shown = window.wait_for("only rows with");
        assert!(
            !shown.contains("SET redis") && !words(&shown).contains(" SET "),
            "{shown}"
        );
        window.tmux(&["resize-window", "-x", "60", "-y", "15"]);
        // There is no room for the protocol.
        wait_for_row(&window, "GET 600 ");
        window.tmux(&["send-keys", "q"]);
        window.assert_given_back("0");
    }
}
