#!lua flags=allow-oom
-- A write that means nothing: WAIT then counts who has followed the history up to here, and a replica refuses.
-- KEYS: beat.
return redis.call('SET', KEYS[1], '', 'PX', 60000)
