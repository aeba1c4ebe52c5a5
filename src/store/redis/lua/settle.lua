#!lua
-- Clears what is pending of a record whose version is still the given one. The format of records: see write.lua.
-- KEYS: record. ARGV: version.
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 1, 8) ~= ARGV[1] then return 0 end
local pending = struct.unpack('>I4', value, 9)
if pending == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. string.rep('\0', 4) .. string.sub(value, 13 + pending), 'KEEPTTL')
return 1
