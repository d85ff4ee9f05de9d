//! `docs/lua.md`: its recipes run, and it names every field.

use std::path::Path;

use crate::support::cases::Case;
use crate::{Scratch, over, run_file};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lua.md")).unwrap()
}

/// The recipes: their titles and their code.
fn recipes() -> Vec<(String, String)> {
    let page = page();
    let (_, recipes) = page.split_once("\n## Recipes\n").unwrap();
    let parts = recipes.split("\n### ").skip(1);
    parts
        .map(|part| {
            let (title, rest) = part.split_once('\n').unwrap();
            let code = rest
                .split("```lua\n")
                .nth(1)
                .unwrap()
                .split("```")
                .next()
                .unwrap();
            (title.to_owned(), code.to_owned())
        })
        .collect()
}

/// The recording that each recipe runs over, and what it prints of it.
const RUNS: [(&str, &str); 5] = [
    ("redis-benchmark-16", "127.0.0.1\t"),
    ("redis-commands", "GET"),
    ("redis-split", "SYN from 127.0.0.1"),
    ("redis-split", "requests"),
    ("http-keepalive", "\"status\":\"404\""),
];

#[test]
fn every_recipe_runs() {
    let recipes = recipes();
    assert_eq!(recipes.len(), RUNS.len());
    for ((title, code), (case, prints)) in recipes.iter().zip(RUNS) {
        let run = over(code, case, &["-m", "auto", "-q"]);
        assert_eq!(run.code, Some(0), "{title}: {}", run.stderr);
        assert_eq!(run.stderr, "", "{title}");
        assert!(run.stdout.contains(prints), "{title}: {}", run.stdout);
    }
}

#[test]
fn the_page_names_every_field() {
    let script = "local function names(x) for k in pairs(x) do print(k) end end process, on_exchange, on_connection = names, names, names";
    let scratch = Scratch::new("lua");
    let script = scratch.file("script.lua", script);
    let page = page();
    for case in ["http-keepalive", "dns-udp"] {
        let run = run_file(&script, &Case::named(case).input(), &[]);
        let json = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json-lines.md"),
        );
        let pages = format!("{page}{}", json.unwrap());
        for field in run.stdout.lines() {
            assert!(pages.contains(&format!("`{field}`")), "{field}");
        }
    }
}

#[test]
fn the_page_names_every_function() {
    for name in ["counter", "histogram", "emit", "protocol"] {
        assert!(page().contains(&format!("tcpkit.{name}")), "{name}");
    }
    for name in tcpkit::lua::hooks::HOOKS {
        assert!(page().contains(&format!("`{name}(")), "{name}");
    }
}
