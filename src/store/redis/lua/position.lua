#!lua flags=allow-oom
-- What the scripts of the log begin with. A position is 20 hex digits: 6 of line, 14 of microseconds. Microseconds since
-- 1970 need 51 bits, so a Lua number (53 bits) holds them exactly until the year 2255.
--
-- allow-oom: revocations must work when the memory is full, and every revocation reads the head first.

local function text(line, micros)
  return string.format('%06x%014x', line, micros)
end

local function line_of(position)
  return tonumber(string.sub(position, 1, 6), 16)
end

local function micros_of(position)
  return tonumber(string.sub(position, 7), 16)
end

-- Byte by byte: Lua's own `<` follows the locale that the server was started in.
local function less(a, b)
  if a == b then return false end
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Above `line`, and not below the minutes since 2026: see Position::next_line.
local function next_line(line, now)
  return math.max(line + 1, math.floor(now / 60000000) - 29453760)
end

local START = '00000000000000000000'

-- The store's history, as the server names it: another name after a restart, a failover or a restore.
local function history()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end
