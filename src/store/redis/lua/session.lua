#!lua
-- Notes a mint on a session, unless it is another's or has lapsed. A value is 'last until owner': the last mint, and how long
-- the record is kept, both in ms, and whom it was first minted for, '-' if that is not known.
-- KEYS: session. ARGV: now, lapsed after so many ms, until, the time that means never, '1' to revive, the owner that it must
-- have or '-'.
-- Returns 1 when noted, 0 if the session has lapsed, 2 if it is another's.
local now, till, owner = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[6]
local value = redis.call('GET', KEYS[1])
if value then
  local last, kept, first = string.match(value, '^(%d+) (%d+) ([0-9A-Za-z-]+)$')
  if not last then return redis.error_reply('ERR malformed session') end
  if owner ~= '-' and first ~= '-' and owner ~= first then return 2 end
  if first ~= '-' then owner = first end
  if ARGV[5] ~= '1' and now - tonumber(last) >= tonumber(ARGV[2]) then return 0 end
  -- Replicas' clocks differ: the last mint never goes back.
  now, till = math.max(now, tonumber(last)), math.max(till, tonumber(kept))
end
value = string.format('%.0f %.0f %s', now, till, owner)
if till < tonumber(ARGV[4]) then
  redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', till))
else
  redis.call('SET', KEYS[1], value)
end
return 1
