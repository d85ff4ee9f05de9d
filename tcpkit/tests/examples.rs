//! The files in `examples/` work as they are: tools that others wrote accept them, and every metric and label that they
//! name is served.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::cases::Case;
use support::served::Served;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

fn promtool(args: &[&str], file: &Path) {
    let output = Command::new("promtool").args(args).arg(file).output();
    let output =
        output.unwrap_or_else(|error| panic!("promtool: {error}; `cargo xtask test` installs it"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

/// What `/metrics` answers over a case.
fn metrics(case: &str) -> String {
    let case = Case::named(case);
    let mut args = case.args();
    args.extend(["-t", "1ms"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Served::start(&case.input(), &args).body("/metrics")
}

/// Names of samples that are served, with those that Prometheus itself adds.
fn served() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = metrics("redis-commands") + &metrics("http-keepalive");
    let (mut names, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let mut words = line.trim_start_matches("# TYPE ").split([' ', '{']);
        let name = words.next().unwrap_or_default().to_owned();
        if name.starts_with("tcpkit_") {
            names.insert(name);
            labels.extend(labelled(line));
        }
    }
    labels.extend(["job", "instance"].map(str::to_owned));
    (names, labels)
}

/// Names before an equals sign and a quote.
fn labelled(text: &str) -> impl Iterator<Item = String> {
    let before = |part: &str| words(part).last().map(str::to_owned);
    let parts: Vec<_> = ["=\"", "=~\""]
        .iter()
        .flat_map(|sign| {
            let mut parts: Vec<_> = text.split(sign).collect();
            parts.pop();
            parts
        })
        .filter_map(before)
        .collect();
    parts.into_iter()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let apart = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    text.split(apart).filter(|word| !word.is_empty())
}

/// Labels that an expression groups by.
fn grouped(expression: &str) -> impl Iterator<Item = String> {
    let groups = expression.split("by (").skip(1);
    let groups = groups.filter_map(|rest| rest.split(')').next());
    groups
        .flat_map(words)
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// That all that an expression names is served.
fn is_served(expression: &str, (names, labels): &(BTreeSet<String>, BTreeSet<String>)) {
    for name in words(expression).filter(|word| word.starts_with("tcpkit_")) {
        assert!(names.contains(name), "`{name}` is not served: {expression}");
    }
    for label in labelled(expression).chain(grouped(expression)) {
        assert!(labels.contains(&label), "no label `{label}`: {expression}");
    }
}

#[test]
fn prometheus_takes_its_configuration_and_rules() {
    promtool(&["check", "config"], &example("prometheus/prometheus.yml"));
    promtool(&["check", "rules"], &example("prometheus/tcpkit-rules.yml"));
    promtool(
        &["test", "rules"],
        &example("prometheus/tcpkit-rules-test.yml"),
    );
    let rules = std::fs::read_to_string(example("prometheus/tcpkit-rules.yml")).unwrap();
    let served = served();
    let mut expressions = 0;
    for rule in rules.split("expr:").skip(1) {
        let expression = rule.split("labels:").next().unwrap();
        let expression = expression
            .split("for:")
            .next()
            .unwrap()
            .split("- ")
            .next()
            .unwrap();
        is_served(expression, &served);
        expressions += usize::from(expression.contains("tcpkit_"));
    }
    assert!(expressions >= 6, "{expressions}");
}

#[test]
fn the_dashboard_asks_for_what_is_served() {
    let text = std::fs::read_to_string(example("grafana/tcpkit-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(expressions.len() > 20);
    let served = served();
    for expression in &expressions {
        is_served(expression, &served);
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["definition"].as_str() else {
            continue;
        };
        let inner = query
            .trim_start_matches("label_values(")
            .trim_end_matches(')');
        let (selector, label) = inner.rsplit_once(", ").unwrap();
        is_served(selector, &served);
        assert!(served.1.contains(label), "{query}");
    }
    are_expressions(&expressions);
}

/// Prometheus' own parser takes them, once Grafana has put in its variables.
fn are_expressions(expressions: &[&str]) {
    let rules = expressions.iter().enumerate().map(|(number, expression)| {
        let expression = expression
            .replace("$__rate_interval", "5m")
            .replace('$', "");
        format!(
            "- record: panel:{number}\n  expr: {}\n",
            Value::from(expression)
        )
    });
    let rules = rules.collect::<String>().replace('\n', "\n  ");
    let file = std::env::temp_dir().join(format!("tcpkit-panels-{}.yml", std::process::id()));
    std::fs::write(
        &file,
        format!(
            "groups:\n- name: panels\n  rules:\n  {}\n",
            rules.trim_end()
        ),
    )
    .unwrap();
    promtool(&["check", "rules"], &file);
    std::fs::remove_file(&file).unwrap();
}

/// What collectors call the settings that the example has, by component: from the schemas of `otlpreceiver` and
/// `prometheusremotewriteexporter` (`config.schema.yaml` in their sources), and the documentation of both processors.
const SETTINGS: &[(&str, &[&str])] = &[
    ("receivers/otlp", &["protocols/http/endpoint"]),
    (
        "processors/memory_limiter",
        &["check_interval", "limit_mib", "spike_limit_mib"],
    ),
    (
        "processors/batch",
        &["timeout", "send_batch_size", "send_batch_max_size"],
    ),
    (
        "exporters/prometheusremotewrite",
        &["endpoint", "resource_to_telemetry_conversion/enabled"],
    ),
];

/// A YAML file, read by a parser that others wrote.
fn yaml(file: &Path) -> Value {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let mut command = Command::new(support::python());
    let output = command.args(["-c", script]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}; `cargo xtask test` installs the parser"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Names of all that is set, each with those that it is in.
fn set(value: &Value, within: &str, names: &mut Vec<String>) {
    match value.as_object().filter(|object| !object.is_empty()) {
        Some(object) => {
            for (name, value) in object {
                set(value, &format!("{within}/{name}"), names);
            }
        }
        None => names.push(within.to_owned()),
    }
}

/// Every component of the example is used, and made of settings that there are.
#[test]
fn the_collector_is_made_of_what_collectors_know() {
    let config = yaml(&example("opentelemetry-collector/collector.yaml"));
    let pipelines = config["service"]["pipelines"].as_object().unwrap();
    for kind in ["receivers", "processors", "exporters"] {
        let defined: BTreeSet<_> = config[kind].as_object().unwrap().keys().collect();
        let named = pipelines.values().flat_map(|pipeline| {
            let names = pipeline[kind].as_array().unwrap().iter();
            names.map(|name| name.as_str().unwrap().to_owned())
        });
        let named: BTreeSet<_> = named.collect();
        assert_eq!(defined, named.iter().collect(), "{kind}");
        for name in named {
            let component = format!("{kind}/{name}");
            let known = SETTINGS.iter().find(|(known, _)| *known == component);
            let (_, known) = known.unwrap_or_else(|| panic!("{component} is not known"));
            let mut names = Vec::new();
            set(&config[kind][&name], "", &mut names);
            for name in names {
                let name = name.trim_start_matches('/');
                assert!(
                    name.is_empty() || known.contains(&name),
                    "{component}: {name}"
                );
            }
        }
    }
    assert_eq!(pipelines.keys().collect::<Vec<_>>(), ["metrics"]);
    // What limits memory comes first, or what is before it is not limited.
    assert_eq!(
        config["service"]["pipelines"]["metrics"]["processors"][0],
        "memory_limiter"
    );
}

/// It listens where the manual says that tcpkit pushes to.
#[test]
fn the_collector_listens_for_pushes() {
    let config = yaml(&example("opentelemetry-collector/collector.yaml"));
    let endpoint = &config["receivers"]["otlp"]["protocols"]["http"]["endpoint"];
    let (_, port) = endpoint.as_str().unwrap().rsplit_once(':').unwrap();
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/statistics.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    assert!(manual.contains(&format!("--otlp http://collector:{port}\n")));
}
