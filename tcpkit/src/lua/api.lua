-- Makes a function that raises what the given one returns: a string, with the place where the script called it.

local error = error

return function(call)
  return function(...)
    local refused = call(...)
    if refused then error(refused, 2) end
  end
end
