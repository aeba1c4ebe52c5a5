#!lua
-- The ids of an index with the records that they name: id, record, id, record and so on; a record that is missing is nil.
-- KEYS: index. ARGV: where to begin, as ZRANGEBYLEX takes it; the most rows; what the records' keys begin with.
local ids = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local rows = {}
for row, id in ipairs(ids) do
  rows[2 * row - 1] = id
  rows[2 * row] = redis.call('GET', ARGV[3] .. id)
end
return rows
