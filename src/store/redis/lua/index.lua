#!lua
-- Puts a token into its subject's list, whose members are ordered by (expiry, id) as their bytes are.
-- KEYS: list. ARGV: member, its expiry in ms or '', how long expired members stay in ms, a member to take out or ''.

-- How many expired members one write removes at most: more than it adds, so that they never pile up.
local SWEEP = 32

local key, member, expires = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local expired_before = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[3])
local until_now = redis.call('PEXPIRETIME', key) -- -2: no list; -1: it never expires
local expired = {}
if until_now ~= -2 then
  expired = redis.call('ZRANGEBYLEX', key, '-', '(' .. struct.pack('>I6', expired_before), 'LIMIT', 0, SWEEP)
end

redis.call('ZADD', key, 0, member)
if ARGV[4] ~= '' then expired[#expired + 1] = ARGV[4] end
if #expired > 0 then redis.call('ZREM', key, unpack(expired)) end
-- The list lives as long as its longest-lived token.
if expires == '' then
  if until_now >= 0 then redis.call('PERSIST', key) end
elseif until_now == -2 or until_now >= 0 and until_now < tonumber(expires) then
  redis.call('PEXPIREAT', key, expires)
end
return 1
