//! Lua values as JSON: for `tcpkit.emit`.

use mlua::{Error, Table, Value};
use serde_json::{Map, Number};

use crate::limits::{LUA_EMITTED, NESTING};

/// The JSON object of a table. Keys come sorted, so that a line does not depend on where strings lie.
///
/// # Errors
/// What JSON has no form for: functions, keys that are no strings, tables in themselves.
pub fn object(table: &Table) -> mlua::Result<serde_json::Value> {
    let mut left = LUA_EMITTED;
    match from_table(table, 0, &mut left)? {
        serde_json::Value::Array(items) if !items.is_empty() => {
            Err(wrong("a line is an object: give keys"))
        }
        serde_json::Value::Array(_) => Ok(Map::new().into()),
        object => Ok(object),
    }
}

fn wrong(what: &str) -> Error {
    Error::runtime(format!("tcpkit.emit: {what}"))
}

fn from(value: &Value, depth: usize, left: &mut usize) -> mlua::Result<serde_json::Value> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| wrong(&format!("more than {LUA_EMITTED} values")))?;
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Number(value) => number(*value),
        Value::String(value) => value.to_string_lossy().into(),
        Value::Table(table) => from_table(table, depth + 1, left)?,
        other => return Err(wrong(&format!("a {} has no JSON", other.type_name()))),
    })
}

/// Whole numbers are written as such; what JSON cannot say (NaN, infinity) is null.
fn number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 && (i64::MIN as f64..1e19).contains(&value) {
        return match value >= 0.0 {
            true => Number::from(value as u64).into(),
            false => Number::from(value as i64).into(),
        };
    }
    Number::from_f64(value).map_or(serde_json::Value::Null, Into::into)
}

/// A table with a first element is an array, any other an object.
fn from_table(table: &Table, depth: usize, left: &mut usize) -> mlua::Result<serde_json::Value> {
    if depth > NESTING {
        return Err(wrong(&format!("tables in more than {NESTING} tables")));
    }
    let length = table.raw_len();
    if length > 0 {
        let items = (1..=length).map(|at| from(&table.raw_get(at)?, depth, left));
        return items.collect::<mlua::Result<Vec<_>>>().map(Into::into);
    }
    let mut object = Map::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = match key {
            Value::String(key) => key.to_string_lossy(),
            Value::Integer(key) => key.to_string(),
            Value::Number(key) => key.to_string(),
            other => return Err(wrong(&format!("a {} is no key", other.type_name()))),
        };
        object.insert(key, from(&value, depth, left)?);
    }
    if object.is_empty() {
        return Ok(serde_json::Value::Array(Vec::new()));
    }
    Ok(object.into())
}
