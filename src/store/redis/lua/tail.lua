-- The head, and the entries after a position. Raises the line if the history may have forked.
-- KEYS: meta, stream. ARGV: after, after as '(line-micros', limit.
-- Returns the head alone if nothing stands after `after`, else {head, more, gap, entries}.

local after, limit = ARGV[1], tonumber(ARGV[3])
local replid = history()
local meta = redis.call('HMGET', KEYS[1], 'replid', 'head', 'floor')
if meta[1] == replid and meta[2] == after then return after end

local head, floor = meta[2] or START, meta[3] or START
-- A reader that is ahead of the log knows a history that this store has lost.
local lost = less(head, after)
local gap = lost or less(after, floor)
if lost or meta[1] ~= replid then
  local now = clock()
  head = text(next_line(math.max(line_of(head), line_of(after)), now), now)
  redis.call('HSET', KEYS[1], 'replid', replid, 'head', head)
end
if gap then return {head, 0, 1, {}} end

local entries = redis.call('XRANGE', KEYS[2], ARGV[2], '+', 'COUNT', limit + 1)
local more = 0
if #entries > limit then
  entries[#entries] = nil
  more = 1
end
return {head, more, 0, entries}
