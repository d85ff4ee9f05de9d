-- http-errors.lua: HTTP responses that report an error, and requests that were never answered.
--
--   tcpkit -S scripts/http-errors.lua -p 80,8080=http
--
-- A line for each as it happens; at the end a count by host, path without its query, and status.
-- Counters `http_errors` by status are in the statistics as well.

local errors = {}

local function note(x, status)
  local method, target = x.text:match("^(%S+) (%S+)")
  local path = (target or x.text):match("^[^?]*")
  local name = ("%s %s%s %s"):format(status, x.host or "-", path, method or "")
  errors[name] = (errors[name] or 0) + 1
  tcpkit.counter("http_errors", 1, { status = status })
end

function on_exchange(x)
  if x.protocol ~= "http" or not x.error then return end
  note(x, x.status)
  print(("%s %s %s %s %s"):format(x.time, x.client.ip, x.status, x.host or "-", x.text))
end

function on_unanswered(x)
  if x.protocol ~= "http" then return end
  note(x, "none")
  print(("%s %s no answer (%s) %s"):format(x.time, x.client.ip, x.why, x.text))
end

function on_exit()
  local names = {}
  for name in pairs(errors) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    if errors[a] ~= errors[b] then return errors[a] > errors[b] end
    return a < b
  end)
  for _, name in ipairs(names) do print(("%6d  %s"):format(errors[name], name)) end
end
