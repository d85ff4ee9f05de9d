-- What a script finds in its globals: Lua 5.2's libraries as far as they cannot harm the host, and
-- `bit32`. Run once, before the script.

local env, bit, write, exit, folder, all = ...
local error, type, rawget, setmetatable = error, type, rawget, setmetatable
local select, tostring, ipairs, concat = select, tostring, ipairs, table.concat
local load, loadfile, floor = env.load, env.loadfile, math.floor

-- Bytecode can break the VM, so code is text, whoever asks.

env.load = function(chunk, name, _, ...)
  return load(chunk, name, "t", ...)
end
env.loadstring = function(chunk, name)
  return load(chunk, name, "t")
end
env.loadfile = function(name, _, ...)
  if type(name) ~= "string" then error("loadfile: a file name is needed", 2) end
  return loadfile(name, "t", ...)
end
env.dofile = function(name)
  local chunk, message = env.loadfile(name)
  if not chunk then error(message, 2) end
  return chunk()
end

-- bit32: Lua 5.2's manual, section 6.7. LuaJIT's own operations have signed results.

local band, bor, bxor, bnot = bit.band, bit.bor, bit.bxor, bit.bnot
local lshift, rshift, arshift, rol = bit.lshift, bit.rshift, bit.arshift, bit.rol
local tobit = bit.tobit

local function unsigned(x)
  if x < 0 then return x + 4294967296 end
  return x
end

-- LuaJIT takes numbers up to 2^51 modulo 2^32; Lua 5.2 takes all.
local function number(x)
  x = x + 0
  if x >= 2251799813685248 or x <= -2251799813685248 then return tobit(x % 4294967296) end
  return tobit(floor(x))
end

local function shift_left(x, by)
  if by <= -32 or by >= 32 then return 0 end
  if by >= 0 then return unsigned(lshift(x, by)) end
  return unsigned(rshift(x, -by))
end

local function field(at, width, name)
  width = width or 1
  if at < 0 then error("bad argument to '" .. name .. "' (field cannot be negative)", 3) end
  if width < 1 then error("bad argument to '" .. name .. "' (width must be positive)", 3) end
  if at + width > 32 then
    error("bad argument to '" .. name .. "' (trying to access non-existent bits)", 3)
  end
  return at, unsigned(rshift(-1, 32 - width))
end

local function fold(operation, identity)
  return function(a, b, ...)
    if b == nil then return unsigned(operation(identity, number(a or identity))) end
    local result = operation(number(a), number(b))
    for i = 1, select("#", ...) do result = operation(result, number((select(i, ...)))) end
    return unsigned(result)
  end
end

env.bit32 = {
  band = fold(band, -1),
  bor = fold(bor, 0),
  bxor = fold(bxor, 0),
  bnot = function(x) return unsigned(bnot(number(x))) end,
  lshift = function(x, by) return shift_left(number(x), by) end,
  rshift = function(x, by) return shift_left(number(x), -by) end,
  arshift = function(x, by)
    x = number(x)
    if by < 0 then return shift_left(x, -by) end
    return unsigned(arshift(x, by > 31 and 31 or by))
  end,
  lrotate = function(x, by) return unsigned(rol(number(x), band(by, 31))) end,
  rrotate = function(x, by) return unsigned(rol(number(x), band(-by, 31))) end,
  extract = function(x, at, width)
    local place, mask = field(at, width, "extract")
    return unsigned(band(rshift(number(x), place), mask))
  end,
  replace = function(x, value, at, width)
    local place, mask = field(at, width, "replace")
    local kept = band(number(x), bnot(lshift(mask, place)))
    return unsigned(bor(kept, lshift(band(number(value), mask), place)))
  end,
}
local all_of = env.bit32.band
env.bit32.btest = function(...) return all_of(...) ~= 0 end

-- `os.exit` ends the script whatever else is allowed.

local libraries = { io = env.io, os = env.os, package = env.package }
libraries.os.exit = exit
libraries.io.write = function(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then
      error("bad argument #" .. i .. " to 'write' (string expected, got " .. kind .. ")", 2)
    end
    write(kind == "string" and value or tostring(value))
  end
  return true
end

-- Files beside the script first.
local package = libraries.package
package.path = folder .. "/?.lua;" .. folder .. "/?/init.lua"

if all then
  env.bit = bit
  return
end

package.cpath = ""

-- For functions that the script calls: the error is where it called them.
local function refuse(name)
  error(name .. " is not allowed: run with --lua-unsafe if the script is trusted", 3)
end

local function only(library, allowed)
  local kept = {}
  for name in allowed:gmatch("%S+") do kept[name] = libraries[library][name] end
  env[library] = setmetatable(kept, {
    __index = function(_, name) refuse(library .. "." .. tostring(name)) end,
    __metatable = false,
  })
  package.loaded[library] = env[library]
end

only("io", "write")
only("os", "date time clock difftime exit")

-- `require` finds what is loaded and what lies beside the script; nothing compiled.

local loaded = package.loaded
for _, name in ipairs { "ffi", "jit.util", "jit.opt", "jit.profile" } do loaded[name] = nil end
env.package = setmetatable({ loaded = loaded, path = package.path, config = package.config }, {
  __index = function(_, name) refuse("package." .. tostring(name)) end,
  __metatable = false,
})
loaded.package, loaded.bit = env.package, bit

local function find(name)
  local tried, file = {}, name:gsub("%.", "/")
  for template in rawget(env.package, "path"):gmatch("[^;]+") do
    local place = template:gsub("%?", (file:gsub("%%", "%%%%")))
    local chunk, message = loadfile(place, "t")
    if chunk then return chunk end
    if not message:find("cannot open", 1, true) then error(message, 3) end
    tried[#tried + 1] = "\n\tno file '" .. place .. "'"
  end
  error("module '" .. name .. "' not found:" .. concat(tried), 3)
end

local reading = {}
env.require = function(name)
  if type(name) ~= "string" then error("require: a name is needed", 2) end
  if name == "ffi" then refuse("ffi") end
  if loaded[name] ~= nil then return loaded[name] end
  local chunk = find(name)
  if reading[name] then error("require: module '" .. name .. "' requires itself", 2) end
  reading[name] = true
  local value = chunk(name)
  reading[name] = nil
  if value ~= nil then
    loaded[name] = value
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name]
end

-- What would lead to the code that runs the script, and through it to the FFI.

env.debug = setmetatable({ traceback = env.debug.traceback }, {
  __index = function(_, name) refuse("debug." .. tostring(name)) end,
  __metatable = false,
})
local jit = env.jit
env.jit = {
  on = jit.on, off = jit.off, flush = jit.flush, status = jit.status,
  version = jit.version, version_num = jit.version_num, os = jit.os, arch = jit.arch,
}
loaded.debug, loaded.jit = env.debug, env.jit
env.ffi, env.getfenv, env.setfenv, env.newproxy, env.module = nil, nil, nil, nil, nil
