-- Calls a script's hooks with what a batch holds. Runs inside the VM of one script, before the script
-- is loaded; nothing here is reachable from the script, least of all the FFI.
--
-- Reads the batch that Rust filled (batch.rs says what the fields mean), makes the tables of
-- docs/lua.md by constructors, which LuaJIT compiles to a copy of a template.

local ffi, bit, new_table, cdef, control, env, sink, ordered = ...
local cast, text_of = ffi.cast, ffi.string
local band, rshift, format = bit.band, bit.rshift, string.format
local is_compiling = jit.status
local concat, select, tostring, type, rawget = table.concat, select, tostring, type, rawget

ffi.cdef(cdef)
local batch_type = ffi.typeof("tk_batch *")
control = cast("tk_control *", control)

-- Printing: lines are collected, and handed over together with the item that they belong to.

local lines, count, bytes, mark = {}, 0, 0, 0
local partial = ""

local function flush()
  if count > 0 then
    local text = concat(lines, "", 1, count)
    count, bytes = 0, 0
    sink(text, mark)
  end
end

local function add(line)
  if count >= 1024 or bytes > 262144 or (ordered and mark ~= control.item) then flush() end
  count, mark = count + 1, control.item
  lines[count] = line
  bytes = bytes + #line
end

local function write(text)
  if partial ~= "" then text, partial = partial .. text, "" end
  if text:sub(-1) ~= "\n" then
    local whole, rest = text:match("^(.*\n)(.*)$")
    text, partial = whole, rest or text
    if #partial > 65536 then text, partial = (text or "") .. partial .. "\n", "" end
    if not text then return end
  end
  add(text)
end

local print = function(first, ...)
  local n = select("#", ...)
  local line
  if n == 0 then
    line = tostring(first) .. "\n"
  else
    local parts = { tostring(first), ... }
    for i = 2, n + 1 do parts[i] = tostring((select(i - 1, ...))) end
    line = concat(parts, "\t", 1, n + 1) .. "\n"
  end
  if partial == "" then add(line) else write(line) end
end

rawset(env, "print", function(...)
  if select("#", ...) == 0 then return write("\n") end
  print(...)
end)

-- Addresses: the same few come again and again.

local names, known = {}, 0

local function name_of(number)
  local name = names[number]
  if name then return name end
  if known >= 65536 then names, known = {}, 0 end
  name = format("%d.%d.%d.%d", rshift(number, 24), band(rshift(number, 16), 255),
    band(rshift(number, 8), 255), band(number, 255))
  names[number], known = name, known + 1
  return name
end

-- Tables.

local function packet(p, arena, payload)
  local sip, dip
  if p.sip_len == 0 then
    sip, dip = name_of(p.sip), name_of(p.dip)
  else
    local at = arena + (p.at - p.sip_len - p.dip_len)
    sip, dip = text_of(at, p.sip_len), text_of(at + p.sip_len, p.dip_len)
  end
  if p.udp ~= 0 then
    return {
      tv_sec = p.tv_sec, tv_usec = p.tv_usec, sip = sip, sport = p.sport, dip = dip, dport = p.dport,
      request = p.request ~= 0, payload = payload, size = p.size, udp = true,
    }
  end
  return {
    tv_sec = p.tv_sec, tv_usec = p.tv_usec, sip = sip, sport = p.sport, dip = dip, dport = p.dport,
    seq = p.seq, ack = p.ack, flags = band(p.tcp_flags, 31), tcp_flags = p.tcp_flags,
    request = p.request ~= 0, payload = payload, size = p.size, udp = false,
  }
end

local function text(arena, t) return text_of(arena + t.at, t.len) end

local function optional(arena, t)
  if t.len > 0 then return text(arena, t) end
end

local function number(value)
  if value == value then return value end -- absent numbers are NaN
end

local function endpoint(arena, t, port) return { ip = text(arena, t), port = port } end

local function exchange(x, arena)
  local status
  if x.answered ~= 0 then status = text(arena, x.status) end
  return {
    v = 1, type = "exchange", time = text(arena, x.time),
    client = endpoint(arena, x.client, x.client_port),
    server = endpoint(arena, x.server, x.server_port),
    protocol = text(arena, x.protocol), command = text(arena, x.command), text = text(arena, x.text),
    host = optional(arena, x.host), text_len = x.text_len, text_cut = x.text_cut,
    latency_ns = number(x.latency_ns), wait_ns = x.wait_ns,
    request_first_ns = x.request_first_ns, request_last_ns = x.request_last_ns,
    response_first_ns = number(x.response_first_ns), response_last_ns = number(x.response_last_ns),
    request_bytes = x.request_bytes, response_bytes = number(x.response_bytes),
    status = status, status_text = text(arena, x.status_text),
    error = x.error ~= 0, blocking = x.blocking ~= 0, early = x.early ~= 0, cut = x.cut ~= 0,
    hits = x.hits, misses = x.misses, confidence = text(arena, x.word),
    frames = {
      request_first = x.request_first, request_last = x.request_last,
      response_first = number(x.response_first), response_last = number(x.response_last),
    },
  }
end

local function unanswered(x, arena)
  return {
    v = 1, type = "unanswered", time = text(arena, x.time),
    client = endpoint(arena, x.client, x.client_port),
    server = endpoint(arena, x.server, x.server_port),
    protocol = text(arena, x.protocol), command = text(arena, x.command), text = text(arena, x.text),
    text_len = x.text_len, text_cut = x.text_cut, why = text(arena, x.word), waited_ns = x.wait_ns,
    request_first_ns = x.request_first_ns, request_last_ns = x.request_last_ns,
    request_bytes = x.request_bytes, blocking = x.blocking ~= 0,
    frames = { request_first = x.request_first, request_last = x.request_last },
  }
end

local function connection(c, arena)
  return {
    v = 1, type = "connection", time = text(arena, c.time),
    client = endpoint(arena, c.client, c.client_port),
    server = endpoint(arena, c.server, c.server_port),
    state = text(arena, c.state), time_ns = c.time_ns, frame = c.frame,
    handshake_ns = number(c.handshake_ns), syn_retries = c.syn_retries, age_ns = number(c.age_ns),
  }
end

-- Loops: one a kind of record, so that each compiles to a trace of its own. `control.item` is moved
-- on before the hook is called: where the hook fails, the next call goes on behind it.

-- A string is looked up among all that the script keeps, which are in no cache. One lookup after the
-- other, with nothing between them, the processor waits for several at a time. A hook that fails has
-- its packets' strings made again: few at a time.
local ahead, payloads = 32, {}

-- Where a script keeps its packets, the strings of payloads that may come again are kept in places that Rust
-- chose (payloads.rs). It is told where a string is once that is kept here: it reads nothing that the collector
-- may have taken.
local kept

local function payload_of(p, arena, places)
  local place = p.place
  if place > 0 then return kept[place] end
  local payload = text_of(arena + p.at, p.captured)
  if place < 0 then
    kept[-place] = payload
    places[-place - 1].address = payload
  end
  return payload
end

local function make_payloads(batch, first, last)
  local records, arena = batch.packets + first, batch.arena
  for number = 0, last - first do
    local p = records[number]
    payloads[number + 1] = text_of(arena + p.at, p.captured)
  end
end

local function find_payloads(batch, first, last)
  local records, arena, places = batch.packets + first, batch.arena, batch.places
  for number = 0, last - first do
    payloads[number + 1] = payload_of(records[number], arena, places)
  end
end

-- Where a packet's table does not outlive its hook, LuaJIT does without the table.
local function show_packets(hook, batch, base, from, last)
  local records, arena = batch.packets, batch.arena
  make_payloads(batch, base + from, base + last)
  for item = from, last do
    control.item = item + 1
    hook(packet(records[base + item], arena, payloads[item - from + 1]))
  end
end

-- Where it does, hooks are called in a loop of their own, in which all packets are alike: there the end of a
-- script's array, say, need not be searched for.
local tables = {}

local function give_packets(hook, batch, base, from, last)
  local records, arena = batch.packets, batch.arena
  find_payloads(batch, base + from, base + last)
  for item = from, last do
    tables[item - from + 1] = packet(records[base + item], arena, payloads[item - from + 1])
  end
  for item = from, last do
    control.item = item + 1
    hook(tables[item - from + 1])
  end
end

local function each_packet(hook, batch, run, from)
  local base, behind = run.first - run.item, run.item + run.count
  local go = show_packets
  -- Where LuaJIT does not compile, making strings anew is the faster way.
  if batch.place_count > 0 and is_compiling() then
    go = give_packets
    if not kept then kept = new_table(batch.place_count, 0) end
  end
  while from < behind do
    local last = from + ahead - 1
    if last >= behind then last = behind - 1 end
    go(hook, batch, base, from, last)
    from = last + 1
  end
end

local function each_exchange(hook, batch, run, from)
  local records, arena, base = batch.exchanges, batch.arena, run.first - run.item
  for item = from, run.item + run.count - 1 do
    control.item = item + 1
    hook(exchange(records[base + item], arena))
  end
end

local function each_unanswered(hook, batch, run, from)
  local records, arena, base = batch.exchanges, batch.arena, run.first - run.item
  for item = from, run.item + run.count - 1 do
    control.item = item + 1
    hook(unanswered(records[base + item], arena))
  end
end

local function each_connection(hook, batch, run, from)
  local records, arena, base = batch.connections, batch.arena, run.first - run.item
  for item = from, run.item + run.count - 1 do
    control.item = item + 1
    hook(connection(records[base + item], arena))
  end
end

local function each_tick(hook, batch, run, from)
  local records, base = batch.ticks, run.first - run.item
  for item = from, run.item + run.count - 1 do
    control.item = item + 1
    hook(records[base + item])
  end
end

local loops = {
  [0] = { "process", each_packet }, { "on_exchange", each_exchange },
  { "on_unanswered", each_unanswered }, { "on_connection", each_connection },
  { "on_tick", each_tick },
}

-- Goes through a batch from `control.item` on.
local function drive(pointer)
  local batch = cast(batch_type, pointer)
  for index = 0, batch.run_count - 1 do
    local run = batch.runs[index]
    if control.item < run.item + run.count then
      local loop = loops[run.kind]
      local hook = rawget(env, loop[1])
      local from = control.item
      if from < run.item then from = run.item end
      if type(hook) == "function" then loop[2](hook, batch, run, from) end
      control.item = run.item + run.count
    end
  end
  flush()
end

-- A line of its own, whatever was not ended before it.
local function whole(line)
  if partial ~= "" then write("\n") end
  add(line)
end

-- What is left of a line that was never ended is a line too.
local function finish()
  if partial ~= "" then write("\n") end
  flush()
end

return drive, finish, write, whole
