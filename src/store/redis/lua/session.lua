#!lua
-- Notes a mint on a session, unless the session has lapsed. A value is 'last until': the last mint, and how long the
-- record is kept, both in ms.
-- KEYS: session. ARGV: now, lapsed after so many ms, until, the time that means never, '1' to revive.
-- Returns 1 when noted, 0 if the session has lapsed.
local now, till = tonumber(ARGV[1]), tonumber(ARGV[3])
local value = redis.call('GET', KEYS[1])
if value then
  local last, kept = string.match(value, '^(%d+) (%d+)$')
  if not last then return redis.error_reply('ERR malformed session') end
  if ARGV[5] ~= '1' and now - tonumber(last) >= tonumber(ARGV[2]) then return 0 end
  -- Replicas' clocks differ: the last mint never goes back.
  now, till = math.max(now, tonumber(last)), math.max(till, tonumber(kept))
end
value = string.format('%.0f %.0f', now, till)
if till < tonumber(ARGV[4]) then
  redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', till))
else
  redis.call('SET', KEYS[1], value)
end
return 1
