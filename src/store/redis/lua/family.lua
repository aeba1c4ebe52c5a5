#!lua
-- Creates a family, or moves it on if it has the expected revision. A value is 4 bytes of revision and the body.
-- KEYS: family. ARGV: expected revision or '' for none, value, expiry in ms or '', now in ms.
-- Returns 1 when done, 0 if the family is gone, else the value that is there instead.
local revision = redis.call('GETRANGE', KEYS[1], 0, 3)
if revision ~= '' then
  -- The server's clock may be behind the caller's.
  local expires = redis.call('PEXPIRETIME', KEYS[1])
  if expires >= 0 and expires <= tonumber(ARGV[4]) then revision = '' end
end
if revision ~= ARGV[1] then
  if revision == '' then return 0 end
  return redis.call('GET', KEYS[1])
end
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
end
return 1
