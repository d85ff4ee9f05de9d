-- slow-by-client.lua: which clients see slow responses.
--
--   tcpkit -S scripts/slow-by-client.lua -p 6379 -i any
--
-- At the end a line a client address, most slow exchanges first: requests, how many took `slow_ms` or
-- longer, their share, the average and the longest, and how much of the time was spent behind the
-- client's own earlier pipelined requests.

local slow_ms = 1

local clients = {}

function on_exchange(x)
  if not x.latency_ns or x.blocking then return end
  local client = clients[x.client.ip]
  if not client then
    client = { ip = x.client.ip, count = 0, slow = 0, total = 0, wait = 0, longest = 0 }
    clients[x.client.ip] = client
  end
  local ms = x.latency_ns / 1e6
  client.count = client.count + 1
  client.total = client.total + ms
  client.wait = client.wait + x.wait_ns / 1e6
  if ms >= slow_ms then client.slow = client.slow + 1 end
  if ms > client.longest then client.longest, client.text = ms, x.text end
end

function on_exit()
  local sorted = {}
  for _, client in pairs(clients) do sorted[#sorted + 1] = client end
  table.sort(sorted, function(a, b)
    if a.slow ~= b.slow then return a.slow > b.slow end
    return a.ip < b.ip
  end)
  for _, client in ipairs(sorted) do
    print(("%s: %d requests, %d slow (%.1f %%), avg %.3f ms, waiting %.0f %%, max %.3f ms: %s"):format(
      client.ip, client.count, client.slow, 100 * client.slow / client.count,
      client.total / client.count, 100 * client.wait / math.max(client.total, 1e-9),
      client.longest, client.text))
  end
end
