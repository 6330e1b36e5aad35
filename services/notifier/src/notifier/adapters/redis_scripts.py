"""The Lua that makes several keys change together. Times are epoch milliseconds as text."""

from __future__ import annotations

# KEYS: dedupe, entry, due set, person's notifications, erased flag
# ARGV: member, due, dedupe ttl in s, now, oldest kept, notification id, then the entry's fields and values
ENQUEUE = """
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[3]) then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 7))
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[6])
redis.call('EXPIRE', KEYS[4], ARGV[3])
return 1
"""

# KEYS: entry   ARGV: verdict   ->   the verdict that stands, or false when the entry is gone
RECORD = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('HSETNX', KEYS[1], 'verdict', ARGV[1])
return redis.call('HGET', KEYS[1], 'verdict')
"""

# KEYS: entry   ARGV: field, value …   ->   1, or 0 when the entry is gone
UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""

# The unread set holds `task id:notification id`, all with score 0, so that it is ordered by text and what one task
# announced is one range of it, however long ago that was (';' follows ':').

# KEYS: stream, tasks by notification, read marks, unread set, erased flag
# ARGV: notification id, task id, limit, then the entry's fields and values
ADD = """
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[4], 0, ARGV[2] .. ':' .. ARGV[1])
while redis.call('XLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[1], oldest[1])
  for i = 1, #oldest[2], 2 do
    if oldest[2][i] == 'notification_id' then
      local id = oldest[2][i + 1]
      redis.call('ZREM', KEYS[4], redis.call('HGET', KEYS[2], id) .. ':' .. id)
      redis.call('HDEL', KEYS[2], id)
      redis.call('HDEL', KEYS[3], id)
    end
  end
end
return 1
"""

# KEYS: read marks, unread set   ARGV: mark, task id   ->   how many were unread
CLEAR = """
local unread = redis.call('ZRANGE', KEYS[2], '[' .. ARGV[2] .. ':', '(' .. ARGV[2] .. ';', 'BYLEX')
for _, member in ipairs(unread) do
  redis.call('HSET', KEYS[1], string.sub(member, #ARGV[2] + 2), ARGV[1])
  redis.call('ZREM', KEYS[2], member)
end
return #unread
"""

# KEYS: tasks by notification, read marks, unread set, due set of marks to tell
# ARGV: now, person's id, notification id   ->   0 when there is no such notification
MARK_READ = """
local task = redis.call('HGET', KEYS[1], ARGV[3])
if not task then return 0 end
if redis.call('ZREM', KEYS[3], task .. ':' .. ARGV[3]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[1])
  redis.call('ZADD', KEYS[4], ARGV[1], ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[1])
end
return 1
"""

# KEYS: read marks, unread set, due set of marks to tell   ARGV: now, person's id, at most   ->   how many were unread
MARK_SOME_READ = """
local unread = redis.call('ZRANGE', KEYS[2], 0, ARGV[3] - 1)
for _, member in ipairs(unread) do
  local id = string.sub(member, string.find(member, ':', 1, true) + 1)
  redis.call('HSET', KEYS[1], id, ARGV[1])
  redis.call('ZADD', KEYS[3], ARGV[1], ARGV[2] .. ':' .. id .. ':' .. ARGV[1])
  redis.call('ZREM', KEYS[2], member)
end
return #unread
"""
