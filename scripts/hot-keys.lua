-- hot-keys.lua: the keys of redis and memcached that are used most, by count and by bytes.
--
--   tcpkit -S scripts/hot-keys.lua -p 6379,11211
--
-- Every `interval` seconds, and at the end, the `top` keys of the interval by uses and by bytes of
-- requests and responses. At most `most` keys are remembered at once; the rest is told as others.

local interval, top, most = 10, 10, 100000

local keys, known, others, begun = {}, 0, 0, nil

-- The key of a request: the first argument of commands that have one.
local keyless = {}
for command in ([[PING ECHO AUTH HELLO QUIT RESET SELECT SWAPDB INFO CONFIG COMMAND CLIENT CLUSTER ACL MODULE DEBUG
    MEMORY LATENCY SLOWLOG MONITOR SHUTDOWN FAILOVER REPLICAOF SLAVEOF REPLCONF PSYNC MIGRATE WAIT WAITAOF
    MULTI EXEC DISCARD SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE
    PUBLISH SPUBLISH PUBSUB FLUSHALL FLUSHDB DBSIZE KEYS SCAN RANDOMKEY EVAL EVALSHA EVAL_RO EVALSHA_RO
    FCALL FCALL_RO SCRIPT FUNCTION OBJECT XREAD XREADGROUP XGROUP XINFO
    STATS VERSION FLUSH_ALL VERBOSITY CACHE_MEMLIMIT SLABS LRU LRU_CRAWLER MN]]):gmatch("%S+") do
  keyless[command] = true
end

local function key_of(x)
  local command, rest = x.text:match("^(%S+)%s+(.+)$")
  if not rest or keyless[command:upper()] then return end
  -- The time to live comes first.
  if command == "gat" or command == "gats" then rest = rest:match("^%S+%s+(.+)$") or rest end
  return rest:match('^"([^"]*)"') or rest:match("^%S+")
end

local function is_before(a, b, field)
  if a[field] ~= b[field] then return a[field] > b[field] end
  return a.name < b.name
end

-- The `top` keys, each put into its place: sorting all takes too long where there are many.
local function leading(field)
  local list = {}
  for _, key in pairs(keys) do
    local place = #list + 1
    while place > 1 and is_before(key, list[place - 1], field) do place = place - 1 end
    if place <= top then
      table.insert(list, place, key)
      list[top + 1] = nil
    end
  end
  return list
end

local function report(title)
  if known == 0 then return end
  print(("%s: %d keys, %d uses of others"):format(title, known, others))
  for _, field in ipairs { "uses", "bytes" } do
    print("  by " .. field)
    for _, key in ipairs(leading(field)) do
      print(("  %10d %s  %s"):format(key[field], field, key.name))
    end
  end
  keys, known, others = {}, 0, 0
end

function on_exchange(x)
  if x.protocol ~= "redis" and x.protocol ~= "memcached" then return end
  local name = key_of(x)
  if not name then return end
  local key = keys[name]
  if not key then
    if known >= most then
      others = others + 1
      return
    end
    key = { name = name, uses = 0, bytes = 0 }
    keys[name], known = key, known + 1
  end
  key.uses = key.uses + 1
  key.bytes = key.bytes + x.request_bytes + (x.response_bytes or 0)
end

function on_tick(now)
  begun = begun or now
  if now - begun >= interval then
    begun = now
    report(os.date("%H:%M:%S", math.floor(now)))
  end
end

function on_exit() report("at the end") end
