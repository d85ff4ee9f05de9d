//! The table `tcpkit` of a script: what it can do besides printing.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Error, Function, Lua, Table, Value};

use super::host::Settings;
use super::json;
use super::taught::Lessons;

/// The table.
///
/// # Errors
/// When there is no memory for it.
pub fn table(
    lua: &Lua,
    write: &Function,
    lessons: &Rc<RefCell<Lessons>>,
    settings: &Settings,
) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let metrics = settings.metrics.clone();
    table.set(
        "counter",
        lua.create_function(move |_, (name, n, labels): Arguments| {
            let n = amount("counter", n.unwrap_or(1.0))?;
            metrics.add(&name, &pairs(labels)?, n);
            Ok(())
        })?,
    )?;
    let metrics = settings.metrics.clone();
    table.set(
        "histogram",
        lua.create_function(move |_, (name, value, labels): Arguments| {
            let value = value.ok_or_else(|| Error::runtime("tcpkit.histogram: no value"))?;
            metrics.record(&name, &pairs(labels)?, amount("histogram", value)?);
            Ok(())
        })?,
    )?;
    let write = write.clone();
    table.set(
        "emit",
        lua.create_function(move |_, object: Table| {
            write.call::<()>(format!("{}\n", json::object(&object)?))
        })?,
    )?;
    let lessons = Rc::clone(lessons);
    table.set(
        "protocol",
        lua.create_function(move |_, lesson: Table| match lessons.try_borrow_mut() {
            Ok(mut lessons) => lessons.learn(&lesson),
            Err(_) => Err(Error::runtime("tcpkit.protocol: not within a parser")),
        })?,
    )?;
    table.set("version", env!("CARGO_PKG_VERSION"))?;
    Ok(table)
}

/// Name, number and labels of a metric.
type Arguments = (String, Option<f64>, Option<Table>);

fn amount(function: &str, value: f64) -> mlua::Result<f64> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    let text = format!("tcpkit.{function}: {value} is not a number from 0 on");
    Err(Error::runtime(text))
}

/// Labels in the order of their names.
fn pairs(labels: Option<Table>) -> mlua::Result<Vec<(String, String)>> {
    let Some(labels) = labels else {
        return Ok(Vec::new());
    };
    let mut pairs = Vec::new();
    for pair in labels.pairs::<String, Value>() {
        let (name, value) = pair?;
        pairs.push((name, value.to_string()?));
    }
    pairs.sort();
    Ok(pairs)
}
