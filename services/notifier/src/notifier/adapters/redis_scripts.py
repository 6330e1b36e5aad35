"""The Lua that makes several keys change together. Times are epoch milliseconds as text."""

from __future__ import annotations

# KEYS: dedupe, entry, due set, person's notifications, erased flag
# ARGV: member, due now, dedupe ttl in s, oldest kept, notification id, then the entry's fields and values
ENQUEUE = """
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[3]) then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 6))
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[4])
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[5])
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

# KEYS: stream, ids, read marks, the task's notifications, erased flag
# ARGV: notification id, task id, limit, ttl of the task's set in s, then the entry's fields and values
ADD = """
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 5))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('EXPIRE', KEYS[4], ARGV[4])
while redis.call('XLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[1], oldest[1])
  for i = 1, #oldest[2], 2 do
    if oldest[2][i] == 'notification_id' then
      redis.call('HDEL', KEYS[2], oldest[2][i + 1])
      redis.call('HDEL', KEYS[3], oldest[2][i + 1])
    end
  end
end
return 1
"""

# KEYS: ids, read marks, the task's notifications   ARGV: mark   ->   how many were unread
CLEAR = """
local count = 0
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  if redis.call('HEXISTS', KEYS[1], id) == 1 then
    count = count + redis.call('HSETNX', KEYS[2], id, ARGV[1])
  end
end
return count
"""

# KEYS: ids, read marks, due set of marks to tell   ARGV: mark, now, member's first part, notification ids …
# ->   {known, newly read}
MARK_READ = """
local known, new = 0, 0
for i = 4, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    known = known + 1
    if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[1]) == 1 then
      new = new + 1
      redis.call('ZADD', KEYS[3], 'NX', ARGV[2], ARGV[3] .. ':' .. ARGV[i] .. ':' .. ARGV[1])
    end
  end
end
return {known, new}
"""
