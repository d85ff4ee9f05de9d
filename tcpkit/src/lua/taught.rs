//! What a script teaches: `tcpkit.protocol{…}`, and the calls of its parser.
//!
//! Reads the table that describes the protocol and the tables that its parser returns; makes
//! [`Plan`]s and [`Heard`] messages. `dissector.rs` is the other side, on the capture's thread.

use std::collections::HashMap;

use crossbeam_channel::Sender;
use mlua::{Error, FromLua, Function, Lua, Table, Value};

use super::vm::{Over, Vm};
use crate::flow::Direction;
use crate::limits::{LUA_LABELS, LUA_PROTOCOLS};

/// A protocol as a script describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its server ports.
    pub ports: Vec<u16>,
    /// Over TCP.
    pub tcp: bool,
    /// Over UDP.
    pub udp: bool,
    /// Labels of its commands; the first word of a request's text is looked up here.
    pub commands: Vec<String>,
}

struct Lesson {
    plan: Plan,
    parse: Function,
    resync: Option<Function>,
    /// What the parser keeps of each conversation: its third argument.
    conversations: HashMap<u64, Table>,
}

/// The protocols that a script has taught.
#[derive(Default)]
pub struct Lessons {
    all: Vec<Lesson>,
    /// The run knows them by now: no more are learned.
    closed: bool,
}

impl Lessons {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What was taught.
    pub fn plans(&self) -> Vec<Plan> {
        self.all.iter().map(|lesson| lesson.plan.clone()).collect()
    }

    /// The script is loaded.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// `tcpkit.protocol{…}`.
    ///
    /// # Errors
    /// What is wrong with the table.
    pub fn learn(&mut self, table: &Table) -> mlua::Result<()> {
        if self.closed {
            return Err(wrong("only while the script is loaded"));
        }
        if self.all.len() >= LUA_PROTOCOLS {
            return Err(wrong(&format!("a script teaches at most {LUA_PROTOCOLS}")));
        }
        let name: Option<String> = field(table, "name", NAME)?;
        let name = name.filter(|name| is_name(name));
        let name = name.ok_or_else(|| wrong(&format!("name has to be {NAME}")))?;
        let ports = ports(field(table, "ports", PORTS)?.unwrap_or_default())?;
        let parse: Option<Function> = field(table, "parse", FUNCTION)?;
        let parse = parse.ok_or_else(|| wrong(&format!("parse has to be {FUNCTION}")))?;
        let commands: Option<Vec<String>> = field(table, "commands", WORDS)?;
        let commands = commands.unwrap_or_default();
        if commands.len() > LUA_LABELS {
            return Err(wrong(&format!("commands are at most {LUA_LABELS}")));
        }
        let transports: Option<Vec<String>> = field(table, "transports", WORDS)?;
        let transports = transports.unwrap_or_else(|| vec!["tcp".to_owned()]);
        if let Some(other) = transports.iter().find(|one| *one != "tcp" && *one != "udp") {
            return Err(wrong(&format!(
                "no transport is called `{other}`; accepted are tcp and udp"
            )));
        }
        let over = |name: &str| transports.iter().any(|transport| transport == name);
        self.all.push(Lesson {
            plan: Plan {
                name,
                ports,
                tcp: over("tcp"),
                udp: over("udp"),
                commands,
            },
            parse,
            resync: field(table, "resync", FUNCTION)?,
            conversations: HashMap::new(),
        });
        Ok(())
    }
}

const NAME: &str = "a word of a-z, 0-9, - and _";
const PORTS: &str = "a list of numbers from 1 to 65535";
const FUNCTION: &str = "a function";
const WORDS: &str = "a list of words";

fn wrong(what: &str) -> Error {
    Error::runtime(format!("tcpkit.protocol: {what}"))
}

/// A field of a lesson, if it is there.
fn field<T: FromLua>(table: &Table, key: &str, what: &str) -> mlua::Result<Option<T>> {
    let field = table.get(key);
    field.map_err(|_| wrong(&format!("{key} has to be {what}")))
}

fn ports(numbers: Vec<f64>) -> mlua::Result<Vec<u16>> {
    let is_port = |number: &f64| (1.0..=65535.0).contains(number) && number.fract() == 0.0;
    match numbers.iter().all(is_port) {
        true => Ok(numbers.iter().map(|&number| number as u16).collect()),
        false => Err(wrong(&format!("ports has to be {PORTS}"))),
    }
}

fn is_name(name: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    !name.is_empty() && name.len() <= 32 && name.bytes().all(ok) && name != "auto" && name != "raw"
}

/// A message that a parser has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Bytes of it that were shown.
    pub size: usize,
    /// Bytes after those that belong to it and need not be shown.
    pub skip: u64,
    /// What it is for.
    pub role: Role,
    /// Its correlation identifier.
    pub id: Option<u64>,
    /// What is printed of it.
    pub text: Vec<u8>,
    /// A status, as the script names it.
    pub status: Option<Vec<u8>>,
    /// It reports an error.
    pub error: bool,
}

/// As [`crate::protocol::Role`], with a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `protocol`")]
pub enum Role {
    #[default]
    Request,
    Response,
    OneWay,
}

/// What is asked of a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Which messages begin the bytes.
    Parse,
    /// Where the next message begins.
    Resync,
    /// Nothing: the conversation has ended.
    Forget,
}

/// What a parser has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These messages, one after the other; none: more bytes are needed.
    Heard(Vec<Heard>),
    /// The next message begins there, if anywhere.
    Found(Option<usize>),
    /// It raised an error, which was told.
    Failed,
}

/// Bytes of a conversation for a parser.
pub struct Query {
    /// Which of the script's protocols.
    pub protocol: usize,
    /// Which conversation.
    pub conversation: u64,
    /// What is asked.
    pub ask: Ask,
    /// Which way the bytes went.
    pub direction: Direction,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where the answer goes.
    pub reply: Sender<Answer>,
}

impl Query {
    /// Asks the parser.
    ///
    /// # Errors
    /// Why the script cannot be run any longer.
    pub fn answer(self, vm: &mut Vm) -> Result<(), Over> {
        if self.ask == Ask::Forget {
            vm.lessons(|lessons| lessons.forget(&self));
            return Ok(());
        }
        let table = vm.parse(|lua, lessons| lessons.conversation(lua, &self))?;
        let answer = match table {
            None => None,
            Some(table) => vm.parse(|lua, lessons| lessons.ask(lua, &self, table))?,
        };
        // Nobody waits any longer where the capture could not.
        let _ = self.reply.try_send(answer.unwrap_or(Answer::Failed));
        Ok(())
    }
}

impl Lessons {
    fn forget(&mut self, query: &Query) {
        if let Some(lesson) = self.all.get_mut(query.protocol) {
            lesson.conversations.remove(&query.conversation);
        }
    }

    /// The parser's table of a conversation.
    fn conversation(&mut self, lua: &Lua, query: &Query) -> mlua::Result<Table> {
        let lesson = self.all.get_mut(query.protocol).ok_or_else(unknown)?;
        if let Some(table) = lesson.conversations.get(&query.conversation) {
            return Ok(table.clone());
        }
        let table = lua.create_table()?;
        lesson
            .conversations
            .insert(query.conversation, table.clone());
        Ok(table)
    }

    fn ask(&mut self, lua: &Lua, query: &Query, table: Table) -> mlua::Result<Answer> {
        let lesson = self.all.get(query.protocol).ok_or_else(unknown)?;
        let direction = query.direction.carries();
        let bytes = lua.create_string(&query.bytes)?;
        match (query.ask, &lesson.resync) {
            (Ask::Resync, Some(resync)) => {
                let at: Value = resync.call((direction, bytes, table))?;
                let place = position(&at)?;
                Ok(Answer::Found(place.filter(|&at| at < query.bytes.len())))
            }
            (Ask::Resync, None) => {
                // The parser itself is asked whether a message begins here.
                let found = messages(lesson.parse.call((direction, bytes, table))?)?;
                let any = found.is_some_and(|found| found.raw_len() > 0);
                Ok(Answer::Found(any.then_some(0)))
            }
            _ => {
                let found = messages(lesson.parse.call((direction, bytes, table))?)?;
                heard(found, query.bytes.len()).map(Answer::Heard)
            }
        }
    }
}

fn unknown() -> Error {
    Error::runtime("the protocol is not taught any longer")
}

/// What a parser has returned.
fn messages(found: Value) -> mlua::Result<Option<Table>> {
    match found {
        Value::Nil => Ok(None),
        Value::Table(found) => Ok(Some(found)),
        _ => Err(Error::runtime(
            "its answer has to be an array of messages, or nil",
        )),
    }
}

/// Where the next message begins, from 0.
fn position(at: &Value) -> mlua::Result<Option<usize>> {
    if at.is_nil() {
        return Ok(None);
    }
    match whole(at) {
        Some(at) => Ok(usize::try_from(at).ok().and_then(|at| at.checked_sub(1))),
        None => Err(Error::runtime(
            "the answer of resync has to be a position, or nil",
        )),
    }
}

/// A number from 0 on, its fraction left out.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Number(number) if *number >= 0.0 => Some(*number as u64),
        _ => None,
    }
}

/// The messages of a parser's answer.
fn heard(found: Option<Table>, shown: usize) -> mlua::Result<Vec<Heard>> {
    let Some(found) = found else {
        return Ok(Vec::new());
    };
    let mut messages = Vec::new();
    let mut left = shown;
    for (message, number) in found.sequence_values::<Table>().zip(1..) {
        let wrong = |what: &str| Error::runtime(format!("message {number} of its answer: {what}"));
        let message = one(&message.map_err(|_| wrong("it has to be a table"))?, &wrong)?;
        if message.size == 0 || message.size > left {
            return Err(wrong("size has to be from 1 to the bytes that are left"));
        }
        left -= message.size;
        let here = message.skip.min(left as u64);
        left -= here as usize;
        messages.push(message);
        if messages.last().is_some_and(|last| last.skip > here) {
            break;
        }
    }
    Ok(messages)
}

fn one(table: &Table, wrong: &dyn Fn(&str) -> Error) -> mlua::Result<Heard> {
    let role = match bytes(table, "role", wrong)?.as_deref() {
        Some(b"request") => Role::Request,
        Some(b"response") => Role::Response,
        Some(b"oneway") => Role::OneWay,
        _ => return Err(wrong("role has to be request, response or oneway")),
    };
    let size: Value = table.get("size")?;
    let skip: Value = table.get("skip")?;
    let skip = match skip {
        Value::Nil => 0,
        skip => whole(&skip).ok_or_else(|| wrong("skip has to be a number from 0 on"))?,
    };
    let size = whole(&size).ok_or_else(|| wrong("size has to be a number"))?;
    Ok(Heard {
        size: usize::try_from(size).unwrap_or(usize::MAX),
        skip,
        role,
        id: id(&table.get("id")?, wrong)?,
        text: bytes(table, "text", wrong)?.unwrap_or_default(),
        status: bytes(table, "status", wrong)?,
        error: table.get::<Option<bool>>("error")?.unwrap_or(false),
    })
}

/// A field that is a string or a number, if it is there.
fn bytes(table: &Table, key: &str, wrong: &dyn Fn(&str) -> Error) -> mlua::Result<Option<Vec<u8>>> {
    let field = table.get::<Option<mlua::String>>(key);
    let field = field.map_err(|_| wrong(&format!("{key} has to be a string")))?;
    Ok(field.map(|field| field.as_bytes().to_vec()))
}

/// An identifier is a number or a string; strings are told apart by a hash (FNV-1a).
fn id(value: &Value, wrong: &dyn Fn(&str) -> Error) -> mlua::Result<Option<u64>> {
    Ok(match value {
        Value::Nil => None,
        Value::Integer(id) => Some(id.cast_unsigned()),
        Value::Number(id) => Some(id.to_bits()),
        Value::String(id) => Some(
            id.as_bytes()
                .iter()
                .fold(0xcbf2_9ce4_8422_2325, |hash, &b| {
                    (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
                }),
        ),
        _ => return Err(wrong("id has to be a number or a string")),
    })
}
