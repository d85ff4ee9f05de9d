-- redis-big-values.lua: redis requests and responses that are big.
--
--   tcpkit -S scripts/redis-big-values.lua -p 6379
--
-- A line for each whose request or response is `limit` bytes or longer, with how long it took from its
-- first to its last byte; at the end a count a command. Sizes are in tcpkit's histogram as well:
-- with `-m redis` the summary shows `redis_bytes`.

local limit = 10000

local commands = {}

local function took(first, last) return (last - first) / 1e6 end

function on_exchange(x)
  if x.protocol ~= "redis" or not x.response_bytes then return end
  tcpkit.histogram("redis_bytes", x.request_bytes, { way = "request" })
  tcpkit.histogram("redis_bytes", x.response_bytes, { way = "response" })
  if x.request_bytes < limit and x.response_bytes < limit then return end
  commands[x.command] = (commands[x.command] or 0) + 1
  print(("%s %s request %d bytes in %.3f ms, response %d bytes in %.3f ms: %s"):format(
    x.client.ip, x.command,
    x.request_bytes, took(x.request_first_ns, x.request_last_ns),
    x.response_bytes, took(x.response_first_ns, x.response_last_ns), x.text:sub(1, 60)))
end

function on_exit()
  local names = {}
  for name in pairs(commands) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do print(("%s: %d big"):format(name, commands[name])) end
end
