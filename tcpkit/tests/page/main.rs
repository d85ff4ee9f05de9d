//! The page in a real browser: what it shows, what it says when something is wrong, and that it talks to nobody else.
//!
//! The oracle is the snapshot that the page asks for; times are written as `top` writes them, by code of its own.
//! `TCPKIT_SCREENSHOTS=FOLDER` keeps pictures to look at.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod browser;
#[path = "../common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use browser::Browser;
use common::Script;
use serde_json::{Value, json};
use support::cases::Case;
use support::served::Served;
use tcpkit::sink::stats::snapshot::Snapshot;
use tcpkit::top::{figures, units};

/// A value that the page shows as a fact: its text, and exactly.
fn fact(browser: &mut Browser, list: &str, name: &str) -> (String, f64) {
    let script = format!(
        "(() => {{ const dt = [...document.querySelectorAll('#{list} dt')].find(dt => dt.textContent.startsWith('{name}')); \
         return [dt.nextSibling.textContent, Number(dt.nextSibling.dataset.v)]; }})()"
    );
    let told = browser.value(&script);
    (
        told[0].as_str().unwrap().to_owned(),
        told[1].as_f64().unwrap(),
    )
}

/// A table's rows, each field's text under its column's name.
fn rows(browser: &mut Browser, table: &str) -> Vec<Value> {
    let script = format!(
        "(() => {{ const table = document.getElementById('{table}'); \
         const heads = [...table.tHead.rows[0].cells].map(th => th.textContent); \
         return [...table.tBodies[0].rows].map(tr => Object.fromEntries([...tr.cells].map((td, i) => [heads[i], td.textContent]))); }})()"
    );
    browser.value(&script).as_array().unwrap().clone()
}

/// Nothing went wrong, and only this host was asked.
fn assert_clean(browser: &mut Browser, origin: &str) {
    for (name, told) in browser.events() {
        match name.as_str() {
            // Whoever is silent for 50 ms after connecting gets the classic form: a busy machine's browser may be.
            "Log.entryAdded" if told.to_string().contains("ERR_INVALID_HTTP_RESPONSE") => {}
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded" => {
                panic!("{told}")
            }
            // The browser's own page, which says that there was no valid answer, has pictures of its own.
            "Network.requestWillBeSent"
                if told["documentURL"]
                    .as_str()
                    .unwrap()
                    .starts_with("chrome-error:") => {}
            "Network.requestWillBeSent" => {
                let url = told["request"]["url"].as_str().unwrap();
                assert!(url.starts_with(origin) || url == "data:,", "{url}");
            }
            _ => {}
        }
    }
}

fn check_figures(browser: &mut Browser, snapshot: &Snapshot, port: Option<u16>, span: &str) {
    let period = snapshot
        .periods
        .iter()
        .find(|period| period.span.name() == span)
        .unwrap();
    let all = figures(period, port);
    let (latency, length) = (&all.latency, period.length_ns);
    for (name, text, exact) in [
        ("requests", units::count(all.requests), all.requests),
        ("a second", units::rate(all.requests, length), length),
        ("p50", units::time(latency.p50), latency.p50),
        ("p90", units::time(latency.p90), latency.p90),
        ("p99", units::time(latency.p99), latency.p99),
        ("max", units::time(latency.max), latency.max),
        ("slow", units::count(all.slow), all.slow),
        ("errors", units::count(all.errors), all.errors),
        ("unanswered", units::count(all.unanswered), all.unanswered),
    ] {
        assert_eq!(
            fact(browser, "tiles", name),
            (text, exact as f64),
            "{name} of {port:?} {span}"
        );
    }
    let buckets = "[...document.querySelectorAll('#buckets tbody tr')].map(tr => Number(tr.cells[2].dataset.v)).reverse()";
    assert_eq!(
        browser.value(buckets),
        serde_json::json!(all.latencies),
        "{port:?} {span}"
    );
    browser.value("choice.more.commands = choice.more.slowest = true; draw()");
    let shown = rows(browser, "commands");
    assert_eq!(shown.len(), all.commands.len());
    for command in &all.commands {
        let row = shown
            .iter()
            .find(|row| row["command"] == command.command.as_str())
            .unwrap();
        for (name, text) in [
            ("requests", units::count(command.requests)),
            ("a second", units::rate(command.requests, length)),
            ("p50", units::time(command.latency.p50)),
            ("p99", units::time(command.latency.p99)),
            ("max", units::time(command.latency.max)),
            ("errors", units::count(command.errors)),
        ] {
            assert_eq!(row[name], text.as_str(), "{name} of {}", command.command);
        }
    }
    let slowest = rows(browser, "slowest");
    let expected = period
        .slowest
        .iter()
        .filter(|slow| port.is_none_or(|port| slow.server.port() == port));
    let expected: Vec<String> = expected.map(|slow| units::time(slow.latency_ns)).collect();
    assert_eq!(
        slowest
            .iter()
            .map(|row| row["latency"].as_str().unwrap())
            .collect::<Vec<_>>(),
        expected
    );
    for (name, count) in [
        ("frames seen", period.coverage.frames),
        ("conversations", period.coverage.conversations),
    ] {
        assert_eq!(fact(browser, "account", name).1, count as f64, "{name}");
    }
    assert_eq!(fact(browser, "tcp", "opened").1, all.tcp.opened as f64);
    assert_eq!(
        fact(browser, "tcp", "handshake p99").1,
        all.tcp.handshake.p99 as f64
    );
    let lost: Vec<String> = snapshot
        .stages
        .iter()
        .map(|stage| units::count(stage.lost))
        .collect();
    assert_eq!(
        rows(browser, "stages")
            .iter()
            .map(|row| row["lost"].as_str().unwrap())
            .collect::<Vec<_>>(),
        lost
    );
}

/// Contrast by WCAG 2.2, success criterion 1.4.3: text at least 4.5 to 1; and nothing reaches beyond the window.
fn check_look(browser: &mut Browser, name: &str) {
    let script = "(() => { const root = getComputedStyle(document.documentElement); \
        const light = (name) => { const hex = root.getPropertyValue(name).trim().slice(1); \
          const [r, g, b] = [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16) / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); \
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; }; \
        const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); }; \
        return Math.min(...['--ink', '--soft', '--accent', '--bad', '--warn', '--good'].flatMap(name => ['--paper', '--shade'].map(under => ratio(name, under)))); })()";
    let contrast = browser.value(script).as_f64().unwrap();
    assert!(contrast >= 4.5, "{name}: {contrast}");
    let over = browser
        .value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(over, 0, "{name}");
    let unnamed = "[...document.querySelectorAll('canvas')].filter(one => !one.getAttribute('aria-label')).length \
        + [...document.querySelectorAll('button:not([hidden])')].filter(one => !one.textContent).length";
    assert_eq!(browser.value(unnamed), 0, "{name}");
}

#[test]
fn the_page_shows_what_the_snapshot_tells() {
    let case = Case::named("redis-commands");
    let mut args = case.args();
    args.extend(["-t", "1ms", "--keys"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut served = Served::start(&case.input(), &args);
    let snapshot: Snapshot = serde_json::from_value(served.snapshot()).unwrap();
    let origin = format!("http://{}/", served.address);
    let mut browser = Browser::start();
    browser.visit(&origin);
    check_figures(&mut browser, &snapshot, None, "start");
    let port = snapshot.periods[0].ports[0].port;
    browser.value(&format!("location.hash = 'port={port}&span=10s'"));
    browser.wait_for(
        "choice.span === '10s' && document.querySelector('input[value=\"10s\"]').checked",
    );
    check_figures(&mut browser, &snapshot, Some(port), "10s");
    for (name, width, scheme) in [
        ("light", 1280, "light"),
        ("dark", 1280, "dark"),
        ("phone", 390, "light"),
    ] {
        browser.dress(width, 844, scheme);
        check_look(&mut browser, name);
        browser.shoot(name);
    }
    // A question that a busy browser's silence has spoilt is asked again.
    browser.wait_for("document.getElementById('state').textContent === 'ended'");
    columns_are_differences(&mut browser);
    losses_are_told(&mut browser);
    the_fullest_ring_is_told(&mut browser);
    a_hidden_page_asks_nothing(&mut browser);
    tables_are_sorted(&mut browser);
    assert_clean(&mut browser, &origin);
    served.kill();
    browser.wait_for("document.getElementById('state').textContent === 'no answer'");
    let notice = browser.value("document.getElementById('notice').textContent");
    assert!(
        notice.as_str().unwrap().starts_with("No answer for "),
        "{notice}"
    );
}

/// From nothing to the snapshot is one column, with the snapshot's own quantiles.
fn columns_are_differences(browser: &mut Browser) {
    let script = "(() => { const [real, none] = [now, structuredClone(now)]; none.ended = false; \
        none.periods[0].ports.forEach(port => { port.latency = { count: 0, sum: 0, max: 0, histogram: [] }; port.latencies.fill(0); port.errors = port.unanswered = 0; }); \
        choice.port = ''; none.made_ns = real.made_ns - 1e9; now = none; take(real); draw(); \
        const one = shown(columns.at(-1)), all = figures(real.periods[0].ports); \
        return [one.latency.p50, one.latency.p90, one.latency.p99, one.latency.max, ...one.latencies].join() \
          === [all.latency.p50, all.latency.p90, all.latency.p99, all.latency.max, ...all.latencies].join() && all.requests > 0; })()";
    assert_eq!(browser.value(script), true);
}

fn losses_are_told(browser: &mut Browser) {
    let script = "(() => { const real = now, before = structuredClone(now), after = structuredClone(now); \
        before.ended = after.ended = false; after.made_ns += 1e9; after.stages[0].lost += 7; \
        now = before; take(after); draw(); const told = document.getElementById('notice').textContent; \
        losses = []; now = real; draw(); return told; })()";
    let told = browser.value(script);
    assert!(
        told.as_str()
            .unwrap()
            .starts_with("The capture loses data: 7 at source"),
        "{told}"
    );
}

/// Rings as a live run has them; a file has none.
fn the_fullest_ring_is_told(browser: &mut Browser) {
    let ring = |fill: u64| format!("{{ size_bytes: {}, highest_fill_bytes: {fill} }}", 2 << 20);
    let rings = [1000, 400_000, 300_000].map(ring).join(",");
    // In one go: the page goes on asking, and draws what it is answered.
    let script = format!(
        "(() => {{ const told = () => [...document.querySelectorAll('#account dt')].filter(dt => dt.textContent.includes('ring')) \
            .map(dt => [dt.textContent, dt.nextSibling.textContent, Number(dt.nextSibling.dataset.v)]); \
        const real = now, without = told(); now = {{ ...real, rings: [{rings}] }}; draw(); \
        const shown = told(); now = real; draw(); return [without, shown, told()]; }})()"
    );
    let row = json!([
        "fullest ring of 2.10 MB, at most",
        units::bytes(400_000),
        400_000
    ]);
    assert_eq!(browser.value(&script), json!([[], [row], []]));
}

fn a_hidden_page_asks_nothing(browser: &mut Browser) {
    let hide = "Object.defineProperty(document, 'hidden', { value: true, configurable: true }); \
        new Promise(done => setTimeout(done, 1200))";
    browser.value(hide);
    browser.wait_for("!asking");
    let asked = "performance.getEntriesByType('resource').length";
    let before = browser.value(asked);
    assert!(before.as_u64().unwrap() > 0);
    browser.value("new Promise(done => setTimeout(done, 1200))");
    assert_eq!(browser.value(asked), before);
    browser.value("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))");
    browser.wait_for(&format!("{asked} > {before}"));
}

fn tables_are_sorted(browser: &mut Browser) {
    browser.value("[...document.querySelectorAll('#commands th button')].find(one => one.textContent === 'max').click()");
    let by = "[...document.querySelectorAll('#commands tbody tr')].map(tr => Number(tr.cells[[...document.querySelectorAll('#commands th')].findIndex(th => th.hasAttribute('aria-sort'))].dataset.v))";
    let sorted = browser.value(&format!("(() => {{ const by = {by}; return by.length > 2 && by.every((one, i) => !i || by[i - 1] >= one); }})()"));
    assert_eq!(sorted, true);
}

/// Keys come from the wire: whatever they are, they are text.
#[test]
fn hostile_keys_are_shown_as_text() {
    let keys = [
        "<script>document.title='hit'</script>",
        "<img src=x onerror=\"document.title='hit'\">",
    ];
    let file = capture(&keys);
    let served = Served::start(&file, &["-p", "6379=redis", "--keys"]);
    let origin = format!("http://{}/", served.address);
    let mut browser = Browser::start();
    browser.visit(&origin);
    for table in ["hot", "slowest"] {
        let shown = rows(&mut browser, table);
        for key in keys {
            assert!(
                shown.iter().any(|row| row["key"] == key),
                "{table}: {key}: {shown:?}"
            );
        }
    }
    let made = browser.value("document.querySelectorAll('main script, main img').length");
    assert_eq!(made, 0);
    assert_ne!(browser.value("document.title"), "hit");
    assert_clean(&mut browser, &origin);
    std::fs::remove_file(file).unwrap();
}

/// A capture file of a conversation that asks for these keys.
fn capture(keys: &[&str]) -> PathBuf {
    let mut script = Script::new(40_000, 6379);
    for key in keys {
        let asked = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
        script.say(false, asked.as_bytes(), 1400);
        script.say(true, b"$-1\r\n", 1400);
    }
    script.close();
    common::save(&script.frames, "page")
}
