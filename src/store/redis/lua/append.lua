-- Appends entries and merges them into the state map, as `Slot::merge` does.
-- KEYS: meta, stream, map, expiry. ARGV: retention in microseconds, the time that means never in ms, entries.
-- Returns the position of the last entry, or the head if there is none.

-- How much garbage one entry removes at most: more than it can make, so garbage never grows.
local SWEEP = 8

local never = tonumber(ARGV[2])

-- `except` in the order of `Ident`: its kind, its tenant (random ids before literal ones), then the rest. Only tokens and
-- families are ever excepted; the text of their ids is of fixed width.
local function except_less(a, b)
  if a == '' or b == '' then return a == '' and b ~= '' end
  local kind, tenant, id = string.match(a, '^(%a):([^:]*):(.*)$')
  local other_kind, other_tenant, other_id = string.match(b, '^(%a):([^:]*):(.*)$')
  local x, y = string.find('tfscdabmhgeprink', kind, 1, true), string.find('tfscdabmhgeprink', other_kind, 1, true)
  if x ~= y then return x < y end
  if tenant == other_tenant then return less(id, other_id) end
  local random, other_random = string.sub(tenant, 1, 4) == 'ten_', string.sub(other_tenant, 1, 4) == 'ten_'
  if random ~= other_random then return random end
  return less(tenant, other_tenant)
end

local function max(a, b)
  if less(a, b) then return b end
  return a
end

local function merge(own, new)
  own.till = math.max(own.till, new.till)
  if own.except == new.except then
    own.highest = max(own.highest, new.highest)
    own.other = max(own.other, new.other)
    return
  end
  local upper, lower = own, new
  if less(own.highest, new.highest) or own.highest == new.highest and except_less(own.except, new.except) then
    upper, lower = new, own
  end
  own.highest, own.except, own.other = upper.highest, upper.except, max(upper.other, lower.highest)
end

-- '-' is below every hex digit.
local function slot_from(value)
  local highest, other, till, except = string.match(value, '^(%x+) ([%x-]+) (%d+) ?([^ ]*)$')
  if not highest then return nil end
  return {highest = highest, other = other, till = tonumber(till), except = except}
end

local function slot_text(slot)
  local value = string.format('%s %s %.0f', slot.highest, slot.other, slot.till)
  if slot.except ~= '' then value = value .. ' ' .. slot.except end
  return value
end

-- Everything is read and checked here, and written below.

local replid = history()
local meta = redis.call('HMGET', KEYS[1], 'replid', 'head')
local now = clock()
local head = meta[2] or START
local line, micros = line_of(head), micros_of(head)
if meta[1] ~= replid then
  line, micros = next_line(line, now), now
end

local ids, slots, named = {}, {}, {}
for i = 3, #ARGV do
  local kind, effective, till, ident, except = string.match(ARGV[i], '^([rc]) ([%x-]+) (%d+) ([^ ]+) ?([^ ]*)$')
  if not kind then return redis.error_reply('ERR malformed entry') end
  micros = math.max(micros + 1, now)
  ids[i] = string.format('%.0f-%.0f', line, micros)
  if kind == 'r' then
    local highest = effective
    if effective == '-' then highest = text(line, micros) end
    local new = {highest = highest, other = '-', till = tonumber(till), except = except}
    local own = slots[ident]
    if not own then
      local value = redis.call('HGET', KEYS[3], ident)
      own = value and slot_from(value)
      if value and not own then return redis.error_reply('ERR malformed slot') end
      named[#named + 1] = ident
    end
    if own then merge(own, new) else own = new end
    slots[ident] = own
  end
end

local sweep = SWEEP * (#ARGV - 2)
local expired, old = {}, {}
if sweep > 0 then
  expired = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', math.floor(now / 1000), 'LIMIT', 0, sweep)
  local retained = now - tonumber(ARGV[1])
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  -- By the clock part whatever the line: lines follow one another in time.
  if first and tonumber(string.match(first[1], '%d+$')) < retained then
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', sweep)) do
      if tonumber(string.match(entry[1], '%d+$')) >= retained then break end
      old[#old + 1] = entry[1]
    end
  end
end

head = text(line, micros)
redis.call('HSET', KEYS[1], 'replid', replid, 'head', head)
for _, ident in ipairs(expired) do
  redis.call('HDEL', KEYS[3], ident)
  redis.call('ZREM', KEYS[4], ident)
end
for i = 3, #ARGV do
  redis.call('XADD', KEYS[2], ids[i], 'e', ARGV[i])
end
for _, ident in ipairs(named) do
  local slot = slots[ident]
  redis.call('HSET', KEYS[3], ident, slot_text(slot))
  if slot.till < never then
    redis.call('ZADD', KEYS[4], string.format('%.0f', slot.till), ident)
  else
    redis.call('ZREM', KEYS[4], ident)
  end
end
if #old > 0 then
  local last_line, last_micros = string.match(old[#old], '^(%d+)-(%d+)$')
  redis.call('HSET', KEYS[1], 'floor', text(tonumber(last_line), tonumber(last_micros)))
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%s-%.0f', last_line, tonumber(last_micros) + 1))
end
return head
