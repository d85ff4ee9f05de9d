-- beanstalkd.lua: teaches tcpkit the work queue beanstalkd, whose responses come in order.
--
--   tcpkit -S scripts/protocols/beanstalkd.lua -m beanstalkd -p 11300
--
-- After https://github.com/beanstalkd/beanstalkd/blob/master/doc/protocol.txt: lines that end with CR LF;
-- `put` and some responses give the length of a body that follows, with a CR LF of its own.

-- Words of responses that report an error.
local errors = { OUT_OF_MEMORY = true, INTERNAL_ERROR = true, BAD_FORMAT = true,
  UNKNOWN_COMMAND = true, EXPECTED_CRLF = true, JOB_TOO_BIG = true, DRAINING = true,
  NOT_FOUND = true, NOT_IGNORED = true, TIMED_OUT = true, DEADLINE_SOON = true }

-- Bytes of the body behind a line; nil where there is none.
local function body(direction, line)
  if direction == "request" then
    return line:match("^put %d+ %d+ %d+ (%d+)$")
  end
  return line:match("^RESERVED %d+ (%d+)$") or line:match("^FOUND %d+ (%d+)$") or line:match("^OK (%d+)$")
end

local function parse(direction, bytes)
  local messages, at = {}, 1
  while true do
    local line, next_at = bytes:match("^([^\r\n]*)\r\n()", at)
    if not line then break end
    local length = body(direction, line)
    local word = line:match("^%S+") or ""
    messages[#messages + 1] = {
      size = next_at - at,
      skip = length and tonumber(length) + 2 or 0,
      role = direction,
      text = line,
      status = direction == "response" and word or nil,
      error = direction == "response" and errors[word] or false,
    }
    at = next_at + (length and tonumber(length) + 2 or 0)
    if at > #bytes then break end
  end
  if #messages > 0 then return messages end
end

-- Words that begin a line, and nothing else that looks like one.
local words = { request = {}, response = {} }
for word in ("put use reserve reserve-with-timeout reserve-job delete release bury touch watch ignore "
  .. "peek peek-ready peek-delayed peek-buried kick kick-job stats stats-job stats-tube list-tubes "
  .. "list-tube-used list-tubes-watched quit pause-tube"):gmatch("%S+") do
  words.request[word] = true
end
for word in ("INSERTED BURIED USING RESERVED DEADLINE_SOON TIMED_OUT DELETED NOT_FOUND RELEASED TOUCHED "
  .. "WATCHING NOT_IGNORED FOUND KICKED OK PAUSED"):gmatch("%S+") do
  words.response[word] = true
end

local function resync(direction, bytes)
  local word = bytes:match("^([%w_-]+)[ \r]")
  if word and words[direction][word] then return 1 end
end

local commands = {}
for word in pairs(words.request) do commands[#commands + 1] = word end
table.sort(commands)

tcpkit.protocol {
  name = "beanstalkd",
  ports = { 11300 },
  commands = commands,
  parse = parse,
  resync = resync,
}
