#!lua
-- Changes a tenant's directory, all or nothing. A record is 8 bytes of version, 4 of the length of what is pending, what
-- is pending, and the body.
-- KEYS: records, names to take, names to free, indexes to add to, indexes to take from, indexes that must be empty,
-- records that must have a version, and the request if there is one.
-- ARGV: how many keys of each but the last, now in ms, the request's value or '', its expiry in ms or '', two three for each
-- record (expected version or '', its expiry in ms or '', the new value after its version), one for each name, index to add
-- to and index to take from: the id, and one for each record that must have a version: that version.
-- Returns {what, which}: 'done'; 'repeated' with the request's value; or which record, name or index refused.

local puts, takes, frees = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local adds, drops, empties = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local requires, now, request, remember_until = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]
local PUTS = 10
local IDS = PUTS + 3 * puts -- the id that belongs to KEYS[puts + i] is ARGV[IDS + i]
local NONE = string.rep('\0', 8)

if request ~= '' then
  local seen = redis.call('GET', KEYS[#KEYS])
  if seen then
    -- The server's clock may be behind the caller's.
    local forgotten = redis.call('PEXPIRETIME', KEYS[#KEYS])
    if forgotten < 0 or forgotten > now then return {'repeated', seen} end
  end
end

local versions = {}
for i = 1, puts do
  local version = redis.call('GETRANGE', KEYS[i], 0, 7)
  if version == '' then version = NONE end
  local expected = ARGV[PUTS + 3 * i - 2]
  if expected ~= '' and expected ~= version then return {'conflict', i} end
  versions[i] = version
end

for i = puts + 1, puts + takes do
  local holder = redis.call('GET', KEYS[i])
  if holder and holder ~= ARGV[IDS + i - puts] then return {'taken', i - puts} end
end

local first_empty = puts + takes + frees + adds + drops
for i = first_empty + 1, first_empty + empties do
  if redis.call('EXISTS', KEYS[i]) == 1 then return {'not_empty', i - first_empty} end
end

local first_required = first_empty + empties
for i = 1, requires do
  local version = redis.call('GETRANGE', KEYS[first_required + i], 0, 7)
  if version == '' then version = NONE end
  -- The versions stand behind the ids, of which each key but the records and empty indexes has one.
  if version ~= ARGV[IDS + takes + frees + adds + drops + i] then return {'required', i} end
end

-- Nothing was written so far, and nothing refuses from here on.

for i = puts + takes + 1, puts + takes + frees do
  if redis.call('GET', KEYS[i]) == ARGV[IDS + i - puts] then redis.call('DEL', KEYS[i]) end
end
for i = puts + 1, puts + takes do
  redis.call('SET', KEYS[i], ARGV[IDS + i - puts])
end
for i = 1, puts do
  -- A Lua number holds the version exactly up to 2^53 writes.
  local version = struct.pack('>I8', struct.unpack('>I8', versions[i]) + 1)
  local value, keep_until = version .. ARGV[PUTS + 3 * i], ARGV[PUTS + 3 * i - 1]
  if keep_until == '' then
    redis.call('SET', KEYS[i], value)
  else
    redis.call('SET', KEYS[i], value, 'PXAT', keep_until)
  end
end
local next_key = puts + takes + frees
for i = next_key + 1, next_key + adds do
  redis.call('ZADD', KEYS[i], 0, ARGV[IDS + i - puts])
end
for i = next_key + adds + 1, next_key + adds + drops do
  redis.call('ZREM', KEYS[i], ARGV[IDS + i - puts])
end
if request ~= '' then
  if remember_until == '' then
    redis.call('SET', KEYS[#KEYS], request)
  else
    redis.call('SET', KEYS[#KEYS], request, 'PXAT', remember_until)
  end
end
return {'done', 0}
