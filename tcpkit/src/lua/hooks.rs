//! The hooks of a script: the global functions that it may define, to be called.

use mlua::{Table, Value};

/// Functions that a script may define, to be called.
pub const HOOKS: [&str; 6] = [
    "process",
    "on_exchange",
    "on_unanswered",
    "on_connection",
    "on_tick",
    "on_exit",
];

/// Which hooks a script defines, in the order of [`HOOKS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// One flag a hook.
    pub defined: [bool; HOOKS.len()],
}

impl Hooks {
    /// Whether the script defines the hook of this name.
    pub fn has(&self, name: &str) -> bool {
        let mut hooks = HOOKS.iter().zip(self.defined);
        hooks.any(|(hook, defined)| defined && *hook == name)
    }

    /// Which hooks a script has defined among its globals.
    ///
    /// # Errors
    /// A sentence about the one that is no function.
    pub fn find(globals: &Table) -> Result<Self, String> {
        let mut hooks = Self::default();
        for (name, defined) in HOOKS.iter().zip(&mut hooks.defined) {
            match globals.raw_get::<Value>(*name) {
                Ok(Value::Function(_)) => *defined = true,
                Ok(Value::Nil) | Err(_) => {}
                Ok(other) => {
                    let kind = match other.type_name() {
                        "integer" => "number",
                        kind => kind,
                    };
                    return Err(format!("{name} is a {kind}, not a function"));
                }
            }
        }
        Ok(hooks)
    }
}
