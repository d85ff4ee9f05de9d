-- example.lua: a line a packet.
--
--   tcpkit -S scripts/example.lua -r capture.pcap -p 6379
--
-- Time, who sent it to whom, TCP's flags and the payload's size, with the payload's first bytes where
-- there are any. `packet` is a plain table; docs/lua.md lists its fields.

local names = { { 1, "F" }, { 2, "S" }, { 4, "R" }, { 8, "P" }, { 16, "A" } }

local function flags(packet)
  if packet.udp then return "udp" end
  local text = ""
  for _, flag in ipairs(names) do
    if bit32.btest(packet.flags, flag[1]) then text = text .. flag[2] end
  end
  return text
end

-- Bytes that a terminal would act on are shown as \ and their number.
local function shown(payload)
  return (payload:sub(1, 60):gsub("[%c\\\127-\255]", function(byte)
    return ("\\%03d"):format(byte:byte())
  end))
end

function process(packet)
  local line = ("%s.%06d %s:%d %s %s:%d %s %d"):format(
    os.date("%Y-%m-%d %H:%M:%S", packet.tv_sec), packet.tv_usec,
    packet.sip, packet.sport, packet.request and "=>" or "->", packet.dip, packet.dport,
    flags(packet), packet.size)
  if packet.payload ~= "" then line = line .. " " .. shown(packet.payload) end
  print(line)
end
