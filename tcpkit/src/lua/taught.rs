//! What a script teaches: `tcpkit.protocol{…}`, and the calls of its parser.
//!
//! Reads the table that describes the protocol and the tables that its parser returns; makes
//! [`Plan`]s and [`Heard`] messages. `dissector.rs` is the other side, on the capture's thread.

use std::collections::HashMap;

use crossbeam_channel::Sender;
use mlua::{Error, Function, Lua, Table, Value};

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
pub struct Lessons(Vec<Lesson>);

impl Lessons {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was taught.
    pub fn plans(&self) -> Vec<Plan> {
        self.0.iter().map(|lesson| lesson.plan.clone()).collect()
    }

    /// `tcpkit.protocol{…}`.
    ///
    /// # Errors
    /// What is wrong with the table.
    pub fn learn(&mut self, table: &Table) -> mlua::Result<()> {
        let wrong = |what: String| Error::runtime(format!("tcpkit.protocol: {what}"));
        if self.0.len() >= LUA_PROTOCOLS {
            return Err(wrong(format!("a script teaches at most {LUA_PROTOCOLS}")));
        }
        let name: Option<String> = table.get("name")?;
        let name = name
            .filter(|name| is_name(name))
            .ok_or_else(|| wrong("name has to be a word of a-z, 0-9, - and _".to_owned()))?;
        let ports: Option<Vec<u16>> = table
            .get("ports")
            .map_err(|_| wrong("ports has to be a list of numbers from 1 to 65535".to_owned()))?;
        let parse: Option<Function> = table.get("parse")?;
        let parse = parse.ok_or_else(|| wrong("parse has to be a function".to_owned()))?;
        let commands: Option<Vec<String>> = table.get("commands")?;
        let commands = commands.unwrap_or_default();
        if commands.len() > LUA_LABELS {
            return Err(wrong(format!("commands are at most {LUA_LABELS}")));
        }
        let transports: Option<Vec<String>> = table.get("transports")?;
        let transports = transports.unwrap_or_else(|| vec!["tcp".to_owned()]);
        if let Some(other) = transports.iter().find(|one| *one != "tcp" && *one != "udp") {
            return Err(wrong(format!(
                "no transport is called `{other}`; accepted are tcp and udp"
            )));
        }
        let over = |name: &str| transports.iter().any(|transport| transport == name);
        self.0.push(Lesson {
            plan: Plan {
                name,
                ports: ports.unwrap_or_default(),
                tcp: over("tcp"),
                udp: over("udp"),
                commands,
            },
            parse,
            resync: table.get("resync")?,
            conversations: HashMap::new(),
        });
        Ok(())
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
    pub status: Option<String>,
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
        if let Some(lesson) = self.0.get_mut(query.protocol) {
            lesson.conversations.remove(&query.conversation);
        }
    }

    /// The parser's table of a conversation.
    fn conversation(&mut self, lua: &Lua, query: &Query) -> mlua::Result<Table> {
        let lesson = self.0.get_mut(query.protocol).ok_or_else(unknown)?;
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
        let lesson = self.0.get(query.protocol).ok_or_else(unknown)?;
        let direction = match query.direction {
            Direction::ToServer => "request",
            Direction::ToClient => "response",
        };
        let bytes = lua.create_string(&query.bytes)?;
        match (query.ask, &lesson.resync) {
            (Ask::Resync, Some(resync)) => {
                let at: Option<usize> = resync.call((direction, bytes, table))?;
                let place = at.and_then(|at| at.checked_sub(1));
                Ok(Answer::Found(place.filter(|&at| at < query.bytes.len())))
            }
            (Ask::Resync, None) => {
                // The parser itself is asked whether a message begins here.
                let found: Option<Table> = lesson.parse.call((direction, bytes, table))?;
                let any = found.is_some_and(|found| found.raw_len() > 0);
                Ok(Answer::Found(any.then_some(0)))
            }
            _ => {
                let found: Option<Table> = lesson.parse.call((direction, bytes, table))?;
                heard(found, query.bytes.len()).map(Answer::Heard)
            }
        }
    }
}

fn unknown() -> Error {
    Error::runtime("the protocol is not taught any longer")
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
        let message = one(&message?, &wrong)?;
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
    let role: Option<String> = table.get("role")?;
    let role = match role.as_deref() {
        Some("request") => Role::Request,
        Some("response") => Role::Response,
        Some("oneway") => Role::OneWay,
        _ => return Err(wrong("role has to be request, response or oneway")),
    };
    let text: Option<mlua::String> = table.get("text")?;
    Ok(Heard {
        size: table
            .get::<Option<usize>>("size")?
            .ok_or_else(|| wrong("size is missing"))?,
        skip: table.get::<Option<u64>>("skip")?.unwrap_or(0),
        role,
        id: id(&table.get("id")?, wrong)?,
        text: text
            .map(|text| text.as_bytes().to_vec())
            .unwrap_or_default(),
        status: table.get("status")?,
        error: table.get::<Option<bool>>("error")?.unwrap_or(false),
    })
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
