-- tcp-connect.lua: connections whose SYN was sent again, how often, and how long connecting took.
--
--   tcpkit -S scripts/tcp-connect.lua -p 6379 -i eth0
--
-- A lost SYN costs a client a second or more before its first request. A line for each such
-- connection, and for each that was refused; at the end a count a server.

local servers = {}

local function server(c)
  local name = ("%s:%d"):format(c.server.ip, c.server.port)
  servers[name] = servers[name] or { opened = 0, established = 0, retried = 0, refused = 0, slowest = 0 }
  return servers[name]
end

local function line(c, what)
  print(("%s %s:%d => %s:%d %s"):format(
    c.time, c.client.ip, c.client.port, c.server.ip, c.server.port, what))
end

function on_connection(c)
  local counts = server(c)
  if c.state == "opened" then
    counts.opened = counts.opened + 1
  elseif c.state == "established" then
    local ms = c.handshake_ns / 1e6
    counts.established = counts.established + 1
    counts.slowest = math.max(counts.slowest, ms)
    if c.syn_retries > 0 then
      counts.retried = counts.retried + 1
      line(c, ("%d SYN retries, connected after %.3f ms"):format(c.syn_retries, ms))
    end
  elseif c.state == "reset" and not c.handshake_ns and c.age_ns then
    counts.refused = counts.refused + 1
    line(c, ("refused after %.3f ms"):format(c.age_ns / 1e6))
  end
end

function on_exit()
  local names = {}
  for name in pairs(servers) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local counts = servers[name]
    print(("%s: %d opened, %d established, %d with SYN retries, %d refused, slowest %.3f ms"):format(
      name, counts.opened, counts.established, counts.retried, counts.refused, counts.slowest))
  end
end
