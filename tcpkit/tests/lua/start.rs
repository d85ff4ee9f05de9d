//! What is refused before a run begins, and how it is told.

use crate::support::cases::Case;
use crate::{Run, Scratch, over, run_file};

fn refused(script: &str) -> String {
    let run = over(script, "redis-split", &[]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    run.stderr
}

#[test]
fn a_file_that_is_not_there() {
    let scratch = Scratch::new("lua");
    let input = Case::named("redis-split").input();
    let Run { stderr, code, .. } = run_file(&scratch.0.join("none.lua"), &input, &[]);
    // As with any other file that is not there.
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("--script ") && stderr.contains("none.lua: No such file"),
        "{stderr}"
    );
}

#[test]
fn a_syntax_error_names_its_line() {
    let said = refused("function process(p)\n  x = = 2\nend");
    assert!(
        said.contains("script.lua:2: unexpected symbol near '='"),
        "{said}"
    );
}

#[test]
fn a_script_without_a_known_function() {
    let said = refused("function proces(p) end");
    assert!(
        said.contains("define one of process, on_exchange"),
        "{said}"
    );
}

#[test]
fn a_hook_that_is_no_function() {
    let said = refused("function process() end on_tick = 3");
    assert!(
        said.contains("on_tick is a number, not a function"),
        "{said}"
    );
}

#[test]
fn an_error_of_the_main_part_comes_with_its_traceback() {
    let said = refused("local function f() error('not today') end\nf()");
    assert!(said.contains("script.lua:1: not today"), "{said}");
    assert!(said.contains("script.lua:2: in main chunk"), "{said}");
}

#[test]
fn bytecode_is_refused() {
    let said = refused("\x1bLJ\x02\x0a");
    assert!(said.contains("attempt to load a binary chunk"), "{said}");
}

#[test]
fn a_main_part_that_never_ends() {
    let said = refused("while true do end");
    assert!(said.contains("loading took longer than 10 s"), "{said}");
}
