//! The table `tcpkit` of a script: what it can do besides printing.
//!
//! What a function refuses is text, which `api.lua` raises as Lua's own functions do: where the script called
//! it, as a string.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Error, Function, Lua, Table, Value};

use super::complaint::{is_memory, reason};
use super::host::Settings;
use super::json;
use super::taught::Lessons;

/// The table.
///
/// # Errors
/// When there is no memory for it.
pub fn table(
    lua: &Lua,
    line: &Function,
    lessons: &Rc<RefCell<Lessons>>,
    settings: &Settings,
) -> mlua::Result<Table> {
    let raising = lua.load(include_str!("api.lua")).set_name("=tcpkit");
    let raising: Function = raising.eval()?;
    let table = lua.create_table()?;
    let add = |name, function: Function| table.set(name, raising.call::<Function>(function)?);
    let metrics = settings.metrics.clone();
    let counter = move |lua: &Lua, (name, n, labels): Arguments| {
        let metric = Metric::new("counter", &name, &labels)?;
        let n = match n {
            Value::Nil => 1.0,
            n => metric.amount(lua, n)?,
        };
        metrics.add(&metric.name, &metric.labels, n);
        Ok(())
    };
    add("counter", refusing(lua, counter)?)?;
    let metrics = settings.metrics.clone();
    let histogram = move |lua: &Lua, (name, value, labels): Arguments| {
        let metric = Metric::new("histogram", &name, &labels)?;
        let value = metric.amount(lua, value)?;
        metrics.record(&metric.name, &metric.labels, value);
        Ok(())
    };
    add("histogram", refusing(lua, histogram)?)?;
    let line = line.clone();
    let emit = move |_: &Lua, (object, _, _): Arguments| match &object {
        Value::Table(object) => line.call(format!("{}\n", json::object(object)?)),
        other => Err(wrong("emit", 1, "table", other)),
    };
    add("emit", refusing(lua, emit)?)?;
    let lessons = Rc::clone(lessons);
    let protocol = move |_: &Lua, (lesson, _, _): Arguments| match &lesson {
        Value::Table(lesson) => match lessons.try_borrow_mut() {
            Ok(mut lessons) => lessons.learn(lesson),
            Err(_) => Err(Error::runtime("tcpkit.protocol: not within a parser")),
        },
        other => Err(wrong("protocol", 1, "table", other)),
    };
    add("protocol", refusing(lua, protocol)?)?;
    table.set("version", env!("CARGO_PKG_VERSION"))?;
    Ok(table)
}

/// What a script gives, three values at most.
type Arguments = (Value, Value, Value);

/// A function that returns why it refuses. Memory is another matter: that ends the script.
fn refusing(
    lua: &Lua,
    work: impl Fn(&Lua, Arguments) -> mlua::Result<()> + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, arguments| match work(lua, arguments) {
        Ok(()) => Ok(None),
        Err(error) if is_memory(&error) => Err(error),
        Err(error) => Ok(Some(reason(&error))),
    })
}

/// In the words of Lua's own libraries.
fn wrong(function: &str, place: u8, expected: &str, value: &Value) -> Error {
    let got = match value {
        Value::Integer(_) => "number",
        other => other.type_name(),
    };
    Error::runtime(format!(
        "bad argument #{place} to '{function}' ({expected} expected, got {got})"
    ))
}

/// A counter or histogram as a script names it.
struct Metric {
    function: &'static str,
    name: String,
    /// In the order of their names.
    labels: Vec<(String, String)>,
}

impl Metric {
    fn new(function: &'static str, name: &Value, labels: &Value) -> mlua::Result<Self> {
        Ok(Self {
            function,
            name: text(name).ok_or_else(|| wrong(function, 1, "string", name))?,
            labels: match labels {
                Value::Nil => Vec::new(),
                Value::Table(labels) => pairs(function, labels)?,
                other => return Err(wrong(function, 3, "table", other)),
            },
        })
    }

    fn amount(&self, lua: &Lua, value: Value) -> mlua::Result<f64> {
        let number = lua.coerce_number(value.clone())?;
        let number = number.ok_or_else(|| wrong(self.function, 2, "number", &value))?;
        if number.is_finite() && number >= 0.0 {
            return Ok(number);
        }
        let function = self.function;
        let text = format!("tcpkit.{function}: {number} is not a number from 0 on");
        Err(Error::runtime(text))
    }
}

/// Strings and numbers as text. Labels are made of what is on the wire, which need not be UTF-8.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string_lossy()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn pairs(function: &str, labels: &Table) -> mlua::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in labels.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let name = text(&name).ok_or_else(|| {
            Error::runtime(format!(
                "tcpkit.{function}: a {} is no name of a label",
                name.type_name()
            ))
        })?;
        let value = match &value {
            Value::String(value) => value.to_string_lossy(),
            other => other.to_string()?,
        };
        pairs.push((name, value));
    }
    pairs.sort();
    Ok(pairs)
}
