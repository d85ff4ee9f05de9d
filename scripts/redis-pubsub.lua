-- redis-pubsub.lua: what is published over redis, by channel, and how many clients get it.
--
--   tcpkit -S scripts/redis-pubsub.lua -p 6379
--
-- Reads packets: pushed messages answer no request, so they are in no exchange. A message that lies in
-- one packet is counted; one that is split over packets is not. At the end a line a channel: messages
-- published to it, and messages that subscribers were sent, with their bytes.

local channels = {}

local function channel(name)
  local entry = channels[name]
  if not entry then
    entry = { published = 0, delivered = 0, bytes = 0 }
    channels[name] = entry
  end
  return entry
end

-- `*3 $7 message $N CHANNEL $N PAYLOAD` as RESP2 sends it, with `>` as RESP3 does.
local pushed = "[*>]3\r\n%$7\r\nmessage\r\n%$%d+\r\n([^\r]*)\r\n%$(%d+)\r\n"
local by_pattern = "[*>]4\r\n%$8\r\npmessage\r\n%$%d+\r\n[^\r]*\r\n%$%d+\r\n([^\r]*)\r\n%$(%d+)\r\n"

function process(packet)
  if packet.request or packet.payload == "" then return end
  for _, pattern in ipairs { pushed, by_pattern } do
    for name, bytes in packet.payload:gmatch(pattern) do
      local entry = channel(name)
      entry.delivered = entry.delivered + 1
      entry.bytes = entry.bytes + tonumber(bytes)
    end
  end
end

function on_exchange(x)
  if x.protocol ~= "redis" then return end
  local name = x.text:match("^[Pp][Uu][Bb][Ll][Ii][Ss][Hh]%s+(%S+)")
  if name then
    local entry = channel(name)
    entry.published = entry.published + 1
  end
end

function on_exit()
  local names = {}
  for name in pairs(channels) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local entry = channels[name]
    print(("%s: %d published, %d delivered, %d bytes"):format(
      name, entry.published, entry.delivered, entry.bytes))
  end
end
