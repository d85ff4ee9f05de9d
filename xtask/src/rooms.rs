//! `cargo xtask rooms`: a room names only the rooms to its left.
//!
//! Reads the library's sources as Rust tokens and looks at every path that starts at `crate` or
//! climbs there with `super`. Tests may name anything; `lib.rs` and `main.rs` are no rooms.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::shell;

/// The rooms in the order that data takes.
const ORDER: &[&str] = &[
    "source", "wire", "flow", "protocol", "exchange", "event", "sink", "lua", "serve", "top",
    "pipeline",
];

/// Bounds: any room may name them.
const LIMITS: &str = "limits";

/// The command line: knows rooms up to the protocols, and `pipeline` alone knows it.
const CLI: &str = "cli";

/// Checks every source file of the library.
///
/// # Errors
/// When a file cannot be read, or names a room that it must not.
pub fn main() -> Result<()> {
    let src = shell::root().join("tcpkit/src");
    let mut files = Vec::new();
    rust_files(&src, &mut files)?;
    let mut sources = Vec::new();
    for file in &files {
        let path = file.strip_prefix(&src)?.to_path_buf();
        let text = std::fs::read_to_string(file)?;
        let tokens = text.parse::<TokenStream>();
        let tokens = tokens.map_err(|error| anyhow!("{}: {error}", path.display()))?;
        sources.push(Source {
            path,
            tokens: without_tests(tokens),
        });
    }
    let wrong = offences(&sources);
    if !wrong.is_empty() {
        bail!(
            "rooms that name a room they must not:\n{}",
            wrong.join("\n")
        );
    }
    eprintln!(
        "rooms: {} files, each names only the rooms before its own",
        sources.len()
    );
    Ok(())
}

/// One file of the library, without its tests.
struct Source {
    path: PathBuf,
    tokens: Code,
}

/// Tokens that are no tests, and the names of modules that are.
#[derive(Default)]
struct Code {
    tokens: Vec<TokenTree>,
    test_modules: Vec<String>,
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn offences(sources: &[Source]) -> Vec<String> {
    let tests: BTreeSet<PathBuf> = sources.iter().flat_map(Source::test_files).collect();
    let mut wrong = Vec::new();
    for source in sources {
        let modules = modules(&source.path);
        let in_tests = source
            .path
            .ancestors()
            .any(|path| tests.contains(&path.with_extension("")));
        let Some(room) = modules.first().filter(|_| !in_tests) else {
            continue;
        };
        if rank(room).is_none() {
            wrong.push(format!(
                "  {}: room `{room}` has no place in the order",
                source.path.display()
            ));
        }
        for named in named_rooms(&source.tokens.tokens, modules.len()) {
            if !allowed(room, &named) {
                wrong.push(format!(
                    "  {}: `{room}` names `{named}`",
                    source.path.display()
                ));
            }
        }
    }
    wrong
}

/// Whether code of `room` may name `other`. A name that is no room (a macro of the crate, an
/// unknown module) is the compiler's business, unless it is a file of its own: that has no rank.
fn allowed(room: &str, other: &str) -> bool {
    match (room, other) {
        _ if room == other => true,
        (LIMITS, _) => false,
        (_, LIMITS) => true,
        (CLI, _) => rank(other) <= rank("protocol"),
        (_, CLI) => room == "pipeline",
        _ => rank(other) < rank(room),
    }
}

/// The place in the order; `limits` before all, `cli` just before `pipeline`.
fn rank(room: &str) -> Option<usize> {
    match room {
        LIMITS => Some(0),
        CLI => rank("pipeline"),
        _ => ORDER
            .iter()
            .position(|name| *name == room)
            .map(|place| place + 1),
    }
}

/// Module path of a file: `flow/mod.rs` is `[flow]`, `lib.rs` is empty.
fn modules(path: &Path) -> Vec<String> {
    let mut modules: Vec<String> = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if modules
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        modules.pop();
    }
    modules
}

impl Source {
    /// Files (without extension) that hold this file's test modules.
    fn test_files(&self) -> Vec<PathBuf> {
        let folder: PathBuf = modules(&self.path).iter().collect();
        self.tokens
            .test_modules
            .iter()
            .map(|name| folder.join(name))
            .collect()
    }
}

/// Drops every item under `#[cfg(test)]` or `#[cfg(any(test, …))]`, down into inline modules.
fn without_tests(stream: TokenStream) -> Code {
    let mut code = Code::default();
    let mut rest = stream.into_iter().peekable();
    while let Some(token) = rest.next() {
        if is_punct(&token, '#') && rest.peek().is_some_and(is_test_attribute) {
            skip_item(&mut rest, &mut code.test_modules);
            continue;
        }
        code.push(token);
    }
    code
}

impl Code {
    fn push(&mut self, token: TokenTree) {
        let TokenTree::Group(group) = token else {
            self.tokens.push(token);
            return;
        };
        let inner = without_tests(group.stream());
        self.test_modules.extend(inner.test_modules);
        let stream = inner.tokens.into_iter().collect();
        self.tokens
            .push(proc_macro2::Group::new(group.delimiter(), stream).into());
    }
}

fn is_test_attribute(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let mut inner = group.stream().into_iter();
    let cfg = inner.next().is_some_and(|name| is_ident(&name, "cfg"));
    cfg && inner.next().is_some_and(|condition| match condition {
        TokenTree::Group(condition) => says_test(condition.stream()),
        _ => false,
    })
}

/// `test`, or `test` inside `all(…)` or `any(…)`; not inside `not(…)`.
fn says_test(condition: TokenStream) -> bool {
    let mut negated = false;
    condition.into_iter().any(|token| {
        let found = match &token {
            TokenTree::Group(group) => !negated && says_test(group.stream()),
            other => is_ident(other, "test"),
        };
        negated = is_ident(&token, "not");
        found
    })
}

/// Skips to the end of an item: its `;` or its block. Notes `mod name;`.
fn skip_item(rest: &mut impl Iterator<Item = TokenTree>, test_modules: &mut Vec<String>) {
    let mut after_mod = false;
    for token in rest {
        match &token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(punct) if punct.as_char() == ';' => return,
            TokenTree::Ident(name) if after_mod => test_modules.push(name.to_string()),
            _ => {}
        }
        after_mod = is_ident(&token, "mod");
    }
}

/// Rooms named by paths in these tokens, of a module `depth` levels below the crate.
fn named_rooms(tokens: &[TokenTree], depth: usize) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(after) = path_to_crate(&tokens[at..], depth) {
            first_names(&tokens[at + after..], &mut rooms);
        }
        if let TokenTree::Group(group) = token {
            let depth = depth + usize::from(is_inline_module(&tokens[..at]));
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            rooms.extend(named_rooms(&inner, depth));
        }
        at += 1;
    }
    rooms
}

/// Length of a path prefix that leads to the crate's root: `crate::`, or enough `super::`.
fn path_to_crate(tokens: &[TokenTree], depth: usize) -> Option<usize> {
    if is_ident(tokens.first()?, "crate") {
        return is_path_separator(&tokens[1..]).then_some(3);
    }
    let climbs = tokens
        .chunks(3)
        .take_while(|part| is_ident(&part[0], "super") && is_path_separator(&part[1..]));
    (climbs.count() == depth).then_some(3 * depth)
}

/// The name that follows, or each first name of a `{…}` list.
fn first_names(tokens: &[TokenTree], rooms: &mut BTreeSet<String>) {
    match tokens.first() {
        Some(TokenTree::Ident(name)) => {
            rooms.insert(name.to_string());
        }
        Some(TokenTree::Group(group)) => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            for part in inner.split(|token| is_punct(token, ',')) {
                first_names(part, rooms);
            }
        }
        _ => {}
    }
}

fn is_inline_module(before: &[TokenTree]) -> bool {
    matches!(before, [.., keyword, TokenTree::Ident(_)] if is_ident(keyword, "mod"))
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':'))
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source {
            path: PathBuf::from(path),
            tokens: without_tests(text.parse().unwrap()),
        };
        offences(&files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn rooms_to_the_left_may_be_named() {
        let code = "use crate::{source::Timestamp, wire}; use crate::limits::HELD; fn f(a: crate::flow::Key) {}";
        assert_eq!(check(&[("protocol/mod.rs", code)]), [""; 0]);
    }

    #[test]
    fn rooms_to_the_right_may_not() {
        for code in [
            "use crate::sink::Sink;",
            "use crate::{source, sink::{Sink, Needs}};",
            "fn f() -> crate::pipeline::Run { x }",
            "fn f() { g!(crate::event::Event) }",
            "use super::exchange;",
            "mod inner { use super::super::sink; }",
            "#[cfg(not(test))] use crate::sink;",
        ] {
            assert_eq!(check(&[("flow/mod.rs", code)]).len(), 1, "{code}");
        }
        assert_eq!(
            check(&[("flow/table.rs", "use super::super::sink;")]).len(),
            1
        );
        assert_eq!(check(&[("flow/table.rs", "use super::sink;")]).len(), 0);
    }

    #[test]
    fn the_command_line_is_for_the_pipeline_alone() {
        assert_eq!(
            check(&[("pipeline.rs", "use crate::cli; use crate::sink;")]).len(),
            0
        );
        assert_eq!(check(&[("cli.rs", "use crate::protocol;")]).len(), 0);
        assert_eq!(check(&[("cli.rs", "use crate::exchange;")]).len(), 1);
        assert_eq!(check(&[("sink/text.rs", "use crate::cli;")]).len(), 1);
    }

    #[test]
    fn limits_name_nobody() {
        assert_eq!(check(&[("limits.rs", "use crate::source;")]).len(), 1);
    }

    #[test]
    fn a_room_outside_the_order_is_told() {
        assert_eq!(check(&[("attic.rs", "")]).len(), 1);
        assert_eq!(check(&[("pipeline.rs", "use crate::attic;")]).len(), 0);
    }

    #[test]
    fn tests_may_name_anything() {
        let inline = "#[cfg(test)] mod tests { use crate::sink; }";
        let file = [
            ("flow/mod.rs", "#[cfg(test)] mod laws;"),
            ("flow/laws.rs", "use crate::sink;"),
        ];
        let nested = [
            ("flow/table.rs", "#[cfg(test)] mod tests;"),
            ("flow/table/tests.rs", "use crate::sink;"),
        ];
        assert_eq!(check(&[("flow/mod.rs", inline)]).len(), 0);
        assert_eq!(check(&file).len(), 0);
        assert_eq!(check(&nested).len(), 0);
    }

    #[test]
    fn comments_and_strings_name_nothing() {
        let code = "/// See [`crate::sink`].\nfn f() { g(\"crate::sink::X\") } // crate::sink::X";
        assert_eq!(check(&[("flow/mod.rs", code)]).len(), 0);
    }
}
