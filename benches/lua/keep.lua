-- Keeps every packet.
local kept = {}

function process(packet)
  kept[#kept + 1] = packet
end

function on_exit() print(#kept) end
