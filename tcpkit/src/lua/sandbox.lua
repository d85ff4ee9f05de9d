-- What a script finds in its globals: Lua 5.2's libraries as far as they cannot harm the host, and
-- `bit32`. Run once, before the script.

local env, bit, write, exit, folder, all = ...
local error, type, pcall, rawget, setmetatable = error, type, pcall, rawget, setmetatable
local select, tostring, tonumber, ipairs, concat = select, tostring, tonumber, ipairs, table.concat
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

-- Called by what the script calls, or by `number` and `int`: the error is where the script called.
local function converted(x, at, name)
  local converted = type(x) == "string" and tonumber(x)
  if not converted then
    local got = x == nil and "no value" or type(x)
    error("bad argument #" .. at .. " to '" .. name .. "' (number expected, got " .. got .. ")", 4)
  end
  return converted
end

-- LuaJIT takes numbers up to 2^51 modulo 2^32; Lua 5.2 takes all.
local function number(x, at, name)
  if type(x) ~= "number" then x = converted(x, at, name) end
  if x >= 2251799813685248 or x <= -2251799813685248 then return tobit(x % 4294967296) end
  return tobit(floor(x))
end

local function int(x, at, name)
  if type(x) ~= "number" then x = converted(x, at, name) end
  if x >= 0 then return floor(x) end
  return -floor(-x)
end

local function shift_left(x, by)
  if by <= -32 or by >= 32 then return 0 end
  if by >= 0 then return unsigned(lshift(x, by)) end
  return unsigned(rshift(x, -by))
end

local function field(at, width, name)
  if at < 0 then error("bad argument to '" .. name .. "' (field cannot be negative)", 3) end
  if width < 1 then error("bad argument to '" .. name .. "' (width must be positive)", 3) end
  if at + width > 32 then
    error("bad argument to '" .. name .. "' (trying to access non-existent bits)", 3)
  end
  return unsigned(rshift(-1, 32 - width))
end

local function fold(name, operation, identity, finish)
  return function(...)
    local count = select("#", ...)
    if count == 2 then
      local a, b = ...
      return finish(operation(number(a, 1, name), number(b, 2, name)))
    end
    local result = identity
    for i = 1, count do result = operation(result, number((select(i, ...)), i, name)) end
    return finish(result)
  end
end

env.bit32 = {
  band = fold("band", band, -1, unsigned),
  bor = fold("bor", bor, 0, unsigned),
  bxor = fold("bxor", bxor, 0, unsigned),
  btest = fold("btest", band, -1, function(x) return x ~= 0 end),
  bnot = function(x) return unsigned(bnot(number(x, 1, "bnot"))) end,
  lshift = function(x, by)
    return shift_left(number(x, 1, "lshift"), (int(by, 2, "lshift")))
  end,
  rshift = function(x, by)
    return shift_left(number(x, 1, "rshift"), -int(by, 2, "rshift"))
  end,
  arshift = function(x, by)
    x, by = number(x, 1, "arshift"), int(by, 2, "arshift")
    if by < 0 then return shift_left(x, -by) end
    return unsigned(arshift(x, by > 31 and 31 or by))
  end,
  lrotate = function(x, by)
    return unsigned(rol(number(x, 1, "lrotate"), band(int(by, 2, "lrotate"), 31)))
  end,
  rrotate = function(x, by)
    return unsigned(rol(number(x, 1, "rrotate"), band(-int(by, 2, "rrotate"), 31)))
  end,
  extract = function(x, at, width)
    x, at = number(x, 1, "extract"), int(at, 2, "extract")
    local mask = field(at, width == nil and 1 or int(width, 3, "extract"), "extract")
    return unsigned(band(rshift(x, at), mask))
  end,
  replace = function(x, value, at, width)
    x, value = number(x, 1, "replace"), number(value, 2, "replace")
    at = int(at, 3, "replace")
    local mask = field(at, width == nil and 1 or int(width, 4, "replace"), "replace")
    return unsigned(bor(band(x, bnot(lshift(mask, at))), lshift(band(value, mask), at)))
  end,
}

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
package.loaded.bit32 = env.bit32

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

-- `require` finds what is loaded, what `package.preload` has, and what lies beside the script; nothing compiled.

local function search(name, path)
  local tried, file = {}, name:gsub("%.", "/")
  for template in path:gmatch("[^;]+") do
    local place = template:gsub("%?", (file:gsub("%%", "%%%%")))
    local chunk, message = loadfile(place, "t")
    if chunk or not message:find("cannot open", 1, true) then return place, chunk, message end
    tried[#tried + 1] = "\n\tno file '" .. place .. "'"
  end
  return nil, concat(tried)
end

local loaded = package.loaded
for _, name in ipairs { "ffi", "jit.util", "jit.opt", "jit.profile" } do loaded[name] = nil end
env.package = setmetatable({
  loaded = loaded,
  preload = {},
  path = package.path,
  config = package.config,
  searchpath = function(name, path)
    if type(name) ~= "string" or type(path) ~= "string" then
      error("package.searchpath: a name and a path are needed", 2)
    end
    local place, tried = search(name, path)
    if place then return place end
    return nil, tried
  end,
}, {
  __index = function(_, name) refuse("package." .. tostring(name)) end,
  __metatable = false,
})
loaded.package, loaded.bit = env.package, bit

local function find(name)
  local preload = rawget(env.package, "preload")
  if type(preload) == "table" and preload[name] ~= nil then return preload[name], ":preload:" end
  local place, chunk, message = search(name, rawget(env.package, "path"))
  if not place then error("module '" .. name .. "' not found:" .. chunk, 3) end
  if not chunk then error(message, 3) end
  return chunk, place
end

local reading = {}
env.require = function(name)
  if type(name) ~= "string" then error("require: a name is needed", 2) end
  if name == "ffi" then refuse("ffi") end
  if loaded[name] ~= nil then return loaded[name] end
  local chunk, place = find(name)
  if reading[name] then error("require: module '" .. name .. "' requires itself", 2) end
  reading[name] = true
  local done, value = pcall(chunk, name, place)
  reading[name] = nil
  if not done then error(value, 0) end
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
