//! One script's virtual machine: LuaJIT with the sandbox, the driver and the script in it.
//!
//! Reads batches, calls the script's hooks with them, and tells what became of it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use mlua::{ChunkMode, Error, Function, LightUserData, Lua, LuaOptions, StdLib, Table};

use super::api;
use super::batch::Batch;
use super::complaint::{is_memory, is_told, told};
use super::garbage::Garbage;
use super::heap::Heap;
use super::hooks::{HOOKS, Hooks};
use super::host::{Policy, Settings};
use super::payloads::Payloads;
use super::print::Printer;
use super::record::CDEF;
use super::taught::{Lessons, Plan};
use super::watch::{self, Pulse, Watch};
use crate::limits::{
    LUA_CALL_LOOKS, LUA_LONG_LOOKS, LUA_MEMORY_LIVE, LUA_MEMORY_OFFLINE, LUA_STRINGS_LIVE,
    LUA_STRINGS_OFFLINE,
};
use crate::source::{Timestamp, shown};

/// Why a script is no longer run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It called `os.exit`.
    Exit,
    /// A call was over its time.
    Time,
    /// It wanted more memory than it may have.
    Memory,
}

/// A script, loaded. Lives and dies on one thread.
pub struct Vm {
    // Dropped first: it holds the state's address.
    watch: Watch,
    machine: Machine,
    drive: Function,
    finish: Function,
    batch: Rc<RefCell<Box<Batch>>>,
    pulse: Arc<Pulse>,
    lessons: Rc<RefCell<Lessons>>,
    settings: Settings,
    garbage: Garbage,
    payloads: Payloads,
    hooks: Hooks,
    errors: u64,
}

/// A state and its memory, dropped in this order.
struct Machine {
    lua: Lua,
    heap: Box<Heap>,
}

impl Vm {
    /// Loads a script and runs its main part.
    ///
    /// # Errors
    /// A sentence for the user: no such file (an [`std::io::Error`]), a syntax error with its line, an error of the main part, no
    /// function that is called, or a hook that is no function.
    pub fn load(
        settings: Settings,
        pulse: Arc<Pulse>,
        printer: Arc<Printer>,
    ) -> anyhow::Result<Self> {
        let path = shown::path(&settings.path);
        let source = std::fs::read(&settings.path).with_context(|| format!("--script {path}"))?;
        let vm = Self::new(settings, pulse, printer).map_err(|e| told(&path, &e));
        let mut vm = vm.map_err(anyhow::Error::msg)?;
        vm.main(&source, &path).map_err(anyhow::Error::msg)?;
        vm.hooks = vm.find_hooks(&path).map_err(anyhow::Error::msg)?;
        Ok(vm)
    }

    fn new(settings: Settings, pulse: Arc<Pulse>, printer: Arc<Printer>) -> mlua::Result<Self> {
        // SAFETY: the unsafe libraries are for the driver; the sandbox takes them away from the script
        // unless the user has allowed them. Panics of callbacks are caught by this crate's lints.
        let lua = unsafe {
            Lua::unsafe_new_with(StdLib::ALL, LuaOptions::new().catch_rust_panics(false))
        };
        let state = raw_state(&lua)?;
        let (memory, strings) = match settings.policy {
            Policy::Wait => (LUA_MEMORY_OFFLINE, LUA_STRINGS_OFFLINE),
            Policy::Drop => (LUA_MEMORY_LIVE, LUA_STRINGS_LIVE),
        };
        // SAFETY: the state is live; a machine's heap is dropped behind its state.
        let heap = unsafe { Heap::install(state, memory) };
        let machine = Machine { lua, heap };
        let lua = &machine.lua;
        let garbage = Garbage::new(lua, settings.policy, memory);
        // SAFETY: `lua` is dropped after the watch, and both on this thread.
        let watch = unsafe { Watch::start(state, Arc::clone(&pulse)) }.map_err(Error::external)?;
        let batch = Rc::new(RefCell::new(Box::<Batch>::default()));
        let ordered = settings.policy == Policy::Wait;
        let sink = printing(lua, printer, &batch)?;
        let control = LightUserData((&raw const pulse.control).cast_mut().cast());
        let bit: Table = lua.load("return require 'bit'").eval()?;
        let ffi: Table = lua.load("return require 'ffi'").eval()?;
        let new_table: Function = lua.load("return require 'table.new'").eval()?;
        let env = lua.globals();
        let driver = lua.load(include_str!("driver.lua")).set_name("=tcpkit");
        let (drive, finish, write, whole): (Function, Function, Function, Function) =
            driver.call((ffi, &bit, new_table, CDEF, control, &env, sink, ordered))?;
        let lessons = Rc::new(RefCell::new(Lessons::default()));
        env.set("tcpkit", api::table(lua, &whole, &lessons, &settings)?)?;
        let exit = exit(lua, state, &pulse)?;
        let folder = settings.path.parent().unwrap_or(Path::new(""));
        let folder = match folder.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => folder.display().to_string(),
        };
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=tcpkit");
        sandbox.call::<()>((&env, bit, write, exit, folder, settings.allow_all))?;
        Ok(Self {
            watch,
            machine,
            drive,
            finish,
            batch,
            pulse,
            lessons,
            settings,
            garbage,
            payloads: Payloads::new(strings),
            hooks: Hooks::default(),
            errors: 0,
        })
    }

    /// Runs the script's main part.
    fn main(&mut self, source: &[u8], path: &str) -> Result<(), String> {
        let chunk = self.machine.lua.load(source).set_name(format!("@{path}"));
        let chunk = chunk.set_mode(ChunkMode::Text);
        let main = chunk.into_function().map_err(|error| told(path, &error))?;
        match self.watch.during(LUA_LONG_LOOKS, || main.call::<()>(())) {
            Ok(()) if !self.pulse.is_ended() => {
                self.lessons.borrow_mut().close();
                Ok(())
            }
            _ if self.pulse.is_ended() => Err(format!("{path}: the script ended with os.exit")),
            Err(_) if self.watch.was_stopped() => {
                Err(format!("{path}: loading took longer than 10 s"))
            }
            Err(error) => Err(told(path, &error)),
            Ok(()) => Ok(()),
        }
    }

    fn find_hooks(&self, path: &str) -> Result<Hooks, String> {
        let hooks = Hooks::find(&self.machine.lua.globals());
        let hooks = hooks.map_err(|error| format!("{path}: {error}"))?;
        if hooks == Hooks::default() && self.lessons.borrow().is_empty() {
            let names = HOOKS.join(", ");
            return Err(format!(
                "{path}: no function that is called: define one of {names}, or teach a protocol with tcpkit.protocol"
            ));
        }
        Ok(hooks)
    }

    /// The hooks that the script defines.
    pub fn hooks(&self) -> Hooks {
        self.hooks
    }

    /// The protocols that the script teaches.
    pub fn plans(&self) -> Vec<Plan> {
        self.lessons.borrow().plans()
    }

    /// Calls the hooks with what `batch` holds.
    ///
    /// # Errors
    /// Why the script cannot be run any longer.
    pub fn batch(&mut self, batch: Box<Batch>) -> Result<Box<Batch>, Over> {
        let empty = self.batch.replace(batch);
        self.drive().inspect_err(|_| self.last_words())?;
        self.tidy();
        Ok(self.batch.replace(empty))
    }

    fn tidy(&mut self) {
        let Machine { lua, heap } = &self.machine;
        if self.garbage.pace(lua, heap) {
            // It fails only where a finalizer does, which scripts cannot have.
            let _ = self.watch.during(LUA_LONG_LOOKS, || lua.gc_collect());
        }
    }

    fn drive(&mut self) -> Result<(), Over> {
        let is_kept = self.machine.heap.is_kept();
        let payloads = is_kept.then_some(&mut self.payloads);
        // SAFETY: where a batch was not gone through to its end, the script is over and gets no other.
        let view = unsafe { self.batch.borrow_mut().view(payloads) };
        let pointer = LightUserData((&raw const view).cast_mut().cast());
        self.pulse.control.rewind();
        let mut begun = None;
        loop {
            let drive = || self.drive.call::<()>(pointer);
            let Err(error) = self.watch.during(LUA_CALL_LOOKS, drive) else {
                break;
            };
            self.judge("", &error)?;
            // A failure outside the hooks would come again for ever.
            let item = self.pulse.control.begun();
            if begun.replace(item) == Some(item) {
                break;
            }
        }
        self.ended()
    }

    /// The script is over: what it has printed until then is printed.
    fn last_words(&self) {
        self.machine.heap.lift();
        let _ = self
            .watch
            .during(LUA_CALL_LOOKS, || self.finish.call::<()>(()));
    }

    /// The last call: `on_exit`, and what it printed.
    ///
    /// # Errors
    /// Why the script cannot be run any longer.
    pub fn exit(&mut self) -> Result<(), Over> {
        self.last_call().inspect_err(|_| self.last_words())
    }

    fn last_call(&mut self) -> Result<(), Over> {
        {
            let mut batch = self.batch.borrow_mut();
            batch.clear();
            // What it prints comes behind everything else.
            batch.reached = Timestamp(u64::MAX);
        }
        self.pulse.control.rewind();
        let hook = self
            .machine
            .lua
            .globals()
            .raw_get::<Option<Function>>("on_exit");
        if let Ok(Some(hook)) = hook {
            let result = self.watch.during(LUA_LONG_LOOKS, || hook.call::<()>(()));
            if let Err(error) = result {
                self.judge("on_exit: ", &error)?;
            }
        }
        let finish = || self.finish.call::<()>(());
        if let Err(error) = self.watch.during(LUA_LONG_LOOKS, finish) {
            self.judge("", &error)?;
        }
        self.ended()
    }

    /// Lets a taught protocol's parser work; `work` is not called again when it fails.
    ///
    /// # Errors
    /// Why the script cannot be run any longer.
    pub fn parse<T>(
        &mut self,
        work: impl FnOnce(&Lua, &mut Lessons) -> mlua::Result<T>,
    ) -> Result<Option<T>, Over> {
        let lessons = Rc::clone(&self.lessons);
        let work = || work(&self.machine.lua, &mut lessons.borrow_mut());
        let result = self.watch.during(LUA_CALL_LOOKS, work);
        self.ended()?;
        match result {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => {
                self.judge("parse: ", &error)?;
                Ok(None)
            }
        }
    }

    /// What the script teaches.
    pub fn lessons(&self, work: impl FnOnce(&mut Lessons)) {
        work(&mut self.lessons.borrow_mut());
    }

    fn ended(&self) -> Result<(), Over> {
        if self.pulse.is_ended() {
            return Err(Over::Exit);
        }
        Ok(())
    }

    /// Tells an error, or says that the script is over by it.
    fn judge(&mut self, whose: &str, error: &Error) -> Result<(), Over> {
        self.ended()?;
        if self.watch.was_stopped() {
            return Err(Over::Time);
        }
        if self.machine.heap.was_refused() || is_memory(error) {
            return Err(Over::Memory);
        }
        self.errors += 1;
        if is_told(self.errors) {
            let times = match self.errors {
                1..=3 => String::new(),
                n => format!(" ({n} errors so far)"),
            };
            let path = shown::path(&self.settings.path);
            (self.settings.tell)(&format!("{whose}{}{times}", told(&path, error)));
        }
        Ok(())
    }

    /// Errors of hooks and parsers so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

/// The function that the driver hands lines to.
fn printing(
    lua: &Lua,
    printer: Arc<Printer>,
    batch: &Rc<RefCell<Box<Batch>>>,
) -> mlua::Result<Function> {
    let batch = Rc::clone(batch);
    lua.create_function(move |_, (text, mark): (mlua::String, u32)| {
        let stamp = batch.borrow().stamp(mark);
        printer.print(&text.as_bytes(), stamp);
        Ok(())
    })
}

/// `os.exit`: ends the script, not the run.
fn exit(lua: &Lua, state: *mut mlua::ffi::lua_State, pulse: &Arc<Pulse>) -> mlua::Result<Function> {
    let pulse = Arc::clone(pulse);
    lua.create_function(move |_, ()| {
        // SAFETY: called by the script, so on its thread and by its live state.
        unsafe { watch::end(state, &pulse) };
        Err::<(), _>(Error::runtime("os.exit"))
    })
}

/// The main state of a VM.
fn raw_state(lua: &Lua) -> mlua::Result<*mut mlua::ffi::lua_State> {
    let mut main = std::ptr::null_mut();
    // SAFETY: nothing is done with the state but to note where it is. Nothing else runs in the VM yet,
    // so it is the main one.
    unsafe { lua.exec_raw::<()>((), |state| main = state)? };
    Ok(main)
}
