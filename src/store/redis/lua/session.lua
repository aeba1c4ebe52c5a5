#!lua
-- Notes a mint on a session, unless the session is another's, has lapsed, or was ended after the mint's rev. A value is
-- 'last alive until newest floor owner': the last mint, until when the session is alive, and until when the record is kept, all in ms; the highest
-- rev that was minted; the position below which nothing is noted any more; and whom it was first minted for, '-' if that is
-- not known. A position is 20 hex digits: 6 of line, 14
-- of microseconds.
-- KEYS: session. ARGV: now, alive until, how much earlier a mint sees it lapsed in ms, until, the time that means never, rev,
-- '1' to revive, the owner that it must have or '-'; or nothing, to end what was minted so far.
-- Returns 1 when noted, 0 if there was nothing to end, 2 if it is another's, else 'floor until' of what has ended.
local function parts(position)
  return tonumber(string.sub(position, 1, 6), 16), tonumber(string.sub(position, 7), 16)
end

local function above(a, b)
  local line, micros = parts(a)
  local other, others = parts(b)
  return line > other or line == other and micros > others
end

-- What is above all that was minted.
local function after(newest)
  local line, micros = parts(newest)
  return string.format('%06x%014x', line, micros + 1)
end

local function max(a, b)
  if above(a, b) then return a end
  return b
end

local ending = #ARGV == 0
local value = redis.call('GET', KEYS[1])
if not value and ending then return 0 end
local last, alive, till, newest, floor, first
local owner = ARGV[8] or '-'
if value then
  last, alive, till, newest, floor, first = string.match(value, '^(%d+) (%d+) (%d+) (%x+) (%x+) ([0-9A-Za-z-]+)$')
  if not last then return redis.error_reply('ERR malformed session') end
  if owner ~= '-' and first ~= '-' and owner ~= first then return 2 end
  if first ~= '-' then owner = first end
  local lapsed = not ending and ARGV[7] ~= '1' and tonumber(ARGV[1]) >= tonumber(alive) - tonumber(ARGV[3])
  if ending or lapsed or above(floor, ARGV[6]) then
    if ending or lapsed then floor = max(floor, after(newest)) end
    redis.call('SET', KEYS[1], string.format('%s %s %s %s %s %s', last, alive, till, newest, floor, first), 'KEEPTTL')
    return floor .. ' ' .. till
  end
end
-- Replicas' clocks differ: the last mint never goes back.
if not value or tonumber(last) <= tonumber(ARGV[1]) then last, alive = ARGV[1], ARGV[2] end
if not value or tonumber(till) < tonumber(ARGV[4]) then till = ARGV[4] end
newest = value and max(newest, ARGV[6]) or ARGV[6]
value = string.format('%s %s %s %s %s %s', last, alive, till, newest, floor or '00000000000000000000', owner)
if tonumber(till) < tonumber(ARGV[5]) then
  redis.call('SET', KEYS[1], value, 'PXAT', till)
else
  redis.call('SET', KEYS[1], value)
end
return 1
