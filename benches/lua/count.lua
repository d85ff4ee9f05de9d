-- Adds sizes into a table by client: what most scripts do.
local bytes = {}

function process(packet)
  local client = packet.request and packet.sip or packet.dip
  bytes[client] = (bytes[client] or 0) + packet.size
end

function on_exit()
  for client, sum in pairs(bytes) do print(client, sum) end
end
