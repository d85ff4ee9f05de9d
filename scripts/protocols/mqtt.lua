-- mqtt.lua: teaches tcpkit MQTT 3.1.1, whose packets carry identifiers.
--
--   tcpkit -S scripts/protocols/mqtt.lua -m mqtt -p 1883
--
-- After the OASIS standard: a byte of type and flags, the remaining length in one to four bytes of seven
-- bits (2.2), then a packet identifier where the type has one (2.3.1). A client's PUBLISH at QoS 1 is answered
-- by PUBACK, at QoS 2 by PUBREC and, after PUBREL, by PUBCOMP; SUBSCRIBE by SUBACK. What the server
-- publishes is pushed, and the client's acknowledgements of it answer no request.

local byte, floor = string.byte, math.floor

local names = { "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
  "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT" }

-- Each exchange has identifiers of its own: QoS 2 needs two with the same packet identifier.
local asks = { CONNECT = "", SUBSCRIBE = "s", UNSUBSCRIBE = "u", PINGREQ = "p", PUBREL = "r" }
local answers = { CONNACK = "", SUBACK = "s", UNSUBACK = "u", PINGRESP = "p", PUBACK = "q", PUBREC = "q",
  PUBCOMP = "r" }

-- The remaining length, and where what it counts begins; nil where more bytes are needed.
local function length(bytes, at)
  local value, factor = 0, 1
  for place = at + 1, at + 4 do
    local digit = byte(bytes, place)
    if not digit then return end
    value = value + digit % 128 * factor
    if digit < 128 then return value, place + 1 end
    factor = factor * 128
  end
  error("a remaining length of more than four bytes")
end

local function number(bytes, at)
  local high, low = byte(bytes, at, at + 1)
  return low and high * 256 + low
end

-- Two bytes of length and so many bytes of text.
local function text(bytes, at)
  local size = number(bytes, at)
  return size and bytes:sub(at + 2, at + 1 + size), size and at + 2 + size
end

local function published(message, direction, bytes, at, flags)
  local topic, behind = text(bytes, at)
  local qos = floor(flags / 2) % 4
  message.text = "PUBLISH " .. (topic or "")
  if direction == "request" and qos > 0 then
    message.role, message.id = "request", "q" .. (number(bytes, behind) or "")
  end
end

local function asked(message, name, bytes, at)
  message.role, message.id = "request", asks[name]
  if name == "SUBSCRIBE" or name == "UNSUBSCRIBE" then
    message.text = name .. " " .. (text(bytes, at + 2) or "")
  elseif name == "CONNECT" then
    message.text = "CONNECT " .. (text(bytes, at + 10) or "")
  end
  if name ~= "CONNECT" and name ~= "PINGREQ" then message.id = asks[name] .. number(bytes, at) end
end

local function answered(message, name, bytes, at)
  message.role, message.id = "response", answers[name]
  if name == "CONNACK" then
    local code = byte(bytes, at + 1)
    message.status, message.error = code, code ~= 0
  elseif name ~= "PINGRESP" then
    message.id = answers[name] .. number(bytes, at)
    local code = name == "SUBACK" and byte(bytes, at + 2)
    if code and code >= 128 then message.status, message.error = code, true end
  end
end

-- How much of a packet has to be seen: all, but of PUBLISH only up to its identifier.
local function needed(name, bytes, at, size)
  if name ~= "PUBLISH" then return size end
  local topic = number(bytes, at)
  return topic and math.min(size, topic + 4)
end

local function parse(direction, bytes)
  local messages, at = {}, 1
  while at <= #bytes do
    local first = byte(bytes, at)
    local name = names[floor(first / 16)] or error("a packet of type " .. floor(first / 16))
    local size, begin = length(bytes, at)
    local head = size and needed(name, bytes, begin, size)
    if not head or begin + head - 1 > #bytes then break end
    local message = { role = "oneway", text = name, size = begin + head - at, skip = size - head }
    if name == "PUBLISH" then
      published(message, direction, bytes, begin, first % 16)
    elseif direction == "request" and asks[name] then
      asked(message, name, bytes, begin)
    elseif direction == "response" and answers[name] then
      answered(message, name, bytes, begin)
    end
    messages[#messages + 1] = message
    at = begin + size
  end
  if #messages > 0 then return messages end
end

-- After a gap: packets whose type and reserved flags fit and that fill the segment to its end.
local function resync(direction, bytes)
  local at = 1
  while at <= #bytes do
    local first = byte(bytes, at)
    local name = names[floor(first / 16)]
    local reserved = (name == "PUBREL" or name == "SUBSCRIBE" or name == "UNSUBSCRIBE") and 2 or 0
    if not name or (name ~= "PUBLISH" and first % 16 ~= reserved) then return end
    local ok, size, begin = pcall(length, bytes, at)
    if not ok or not size then return end
    at = begin + size
  end
  if at == #bytes + 1 then return 1 end
end

tcpkit.protocol {
  name = "mqtt",
  ports = { 1883 },
  commands = names,
  parse = parse,
  resync = resync,
}
