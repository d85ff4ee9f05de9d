-- dns.lua: the latency of every DNS query, by name and type.
--
--   tcpkit -S scripts/dns.lua -p 53=dns -i any
--
-- A line a query as it is answered; at the end the names that were asked most, with how often, the
-- slowest answer, and how many were not answered. At most `most` names are remembered: who asks for random
-- ones makes more. The rest is told as others.

local most = 10000

local names, known = {}, 0

local function entry(x)
  local text = (names[x.text] or known < most) and x.text or "(others)"
  local name = names[text]
  if not name then
    name = { text = text, asked = 0, silent = 0, total = 0, slowest = 0 }
    names[text], known = name, known + 1
  end
  return name
end

function on_exchange(x)
  if x.protocol ~= "dns" or not x.latency_ns then return end
  local name, ms = entry(x), x.latency_ns / 1e6
  name.asked = name.asked + 1
  name.total = name.total + ms
  name.slowest = math.max(name.slowest, ms)
  print(("%s %s %s %.3f ms %s"):format(x.time, x.client.ip, x.text, ms, x.status))
end

function on_unanswered(x)
  if x.protocol ~= "dns" then return end
  entry(x).silent = entry(x).silent + 1
  print(("%s %s %s no answer"):format(x.time, x.client.ip, x.text))
end

function on_exit()
  local sorted = {}
  for _, name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted, function(a, b)
    if a.asked ~= b.asked then return a.asked > b.asked end
    return a.text < b.text
  end)
  for i = 1, math.min(20, #sorted) do
    local name = sorted[i]
    local average = name.asked > 0 and name.total / name.asked or 0
    print(("%6d  avg %.3f ms, max %.3f ms, unanswered %d  %s"):format(
      name.asked, average, name.slowest, name.silent, name.text))
  end
end
