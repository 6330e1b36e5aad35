"""The Lua that makes several keys change together. Times are epoch milliseconds as text."""

from __future__ import annotations

from notifier.adapters.live_scripts import TELL
from notifier.domain.live import Kind

# What goes into a queue goes in once: the first time unless its dedupe key is there, and again only off the shelf. Then
# what is known of it begins anew.
_UNLESS_EVER = "if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[3]) then return 0 end"
# One that was a follower follows no more; one that leads is claimed again with those that follow it.
_OFF_THE_SHELF = """
if redis.call('ZREM', KEYS[1], ARGV[6]) == 0 then return 0 end
local known = redis.call('HMGET', KEYS[2], 'leader', 'held')
redis.call('DEL', KEYS[2])
if known[1] then redis.call('SREM', 'followers:' .. known[1], ARGV[1]) end
if known[2] then redis.call('HSET', KEYS[2], 'held', known[2]) end
"""

_QUEUE = """
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
{gate}
redis.call('HSET', KEYS[2], unpack(ARGV, 8))
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
redis.call('EXPIRE', KEYS[4], ARGV[3])
"""

# KEYS: dedupe key or shelf, entry, due set, person's members, erased flag
# ARGV: member, due, dedupe ttl in s, now, oldest kept, place on the shelf, lane or '', then fields and values
ENQUEUE = _QUEUE.replace("{gate}", _UNLESS_EVER) + "return 1"
REQUEUE = _QUEUE.replace("{gate}", _OFF_THE_SHELF) + "return 1"

# A lane's score is when it is to be looked at next, or, while somebody works it, the end of the lease. The note keeps
# the score of its last rest: only while that is still the score may something new bring the lane forward, and never
# before the end of a closure.
_BRING_FORWARD = """
local note = redis.call('HMGET', KEYS[7], 'rested', 'closed_until')
local due = math.max(tonumber(ARGV[2]), tonumber(note[2] or 0))
local score = redis.call('ZSCORE', KEYS[6], ARGV[7])
if not score or (note[1] and tonumber(note[1]) == tonumber(score) and due < tonumber(score)) then
  redis.call('ZADD', KEYS[6], due, ARGV[7])
  redis.call('HSET', KEYS[7], 'rested', due)
end
return 1
"""

# KEYS: as above, with the lane's due set, then the set of lanes, the lane's note   ARGV: as above
ENQUEUE_IN_LANE = _QUEUE.replace("{gate}", _UNLESS_EVER) + _BRING_FORWARD
REQUEUE_IN_LANE = _QUEUE.replace("{gate}", _OFF_THE_SHELF) + _BRING_FORWARD

# KEYS: set of lanes, the lane's due set, the lane's note
# ARGV: lane, lease score, failures, closed until (0: open), ttl of the note in s
REST_LANE = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[3], 'failures', ARGV[3], 'closed_until', ARGV[4])
redis.call('EXPIRE', KEYS[3], ARGV[5])
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #first > 0 then
  local due = math.max(tonumber(first[2]), tonumber(ARGV[4]))
  redis.call('ZADD', KEYS[1], due, ARGV[1])
  redis.call('HSET', KEYS[3], 'rested', due)
else
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[3], 'rested')
  if ARGV[3] == '0' then redis.call('DEL', KEYS[3]) end
end
return 1
"""

# KEYS: entry, attempts, shelf, due set
# ARGV: verdict, attempt, ttl of attempts and shelf in s, place on the shelf or '', member, lease score or ''
# ->   the verdict that stands, or false when the entry is gone, or a lease was asked for that is not ours any more
RECORD = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
if ARGV[6] ~= '' and tonumber(redis.call('ZSCORE', KEYS[4], ARGV[5]) or -1) ~= tonumber(ARGV[6]) then return false end
if redis.call('HSETNX', KEYS[1], 'verdict', ARGV[1]) == 1 then
  redis.call('RPUSH', KEYS[2], ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
  if ARGV[4] ~= '' then
    redis.call('ZADD', KEYS[3], 0, ARGV[4])
    redis.call('EXPIRE', KEYS[3], ARGV[3])
  end
end
return redis.call('HGET', KEYS[1], 'verdict')
"""

# An entry that was queued again has no verdict, and whoever still holds the old one leaves it alone.
# KEYS: entry, its followers   ->   1, 0 when there is none, -1 when it was queued again
FINISH = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'verdict') == 0 then return -1 end
redis.call('DEL', KEYS[2])
return redis.call('DEL', KEYS[1])
"""

# KEYS: entry, due set   ARGV: member, lease score   ->   1, 0 when it is not ours any more
DROP = """
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""

# KEYS: entry, due set   ARGV: member, lease score, then fields and values   ->   1, or 0 when it is not ours any more
NOTE = """
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1
"""

# KEYS: entry, due set, the person's digests
# ARGV: member, lease score, until, place, most followers, ttl in s, then fields and values
# ->   1 it leads, 2 it follows, 0 it is not ours any more
HOLD = """
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
local leader = redis.call('HGET', KEYS[3], ARGV[4])
if leader and redis.call('EXISTS', 'delivery:' .. leader) == 1
    and redis.call('SCARD', 'followers:' .. leader) < tonumber(ARGV[5]) then
  redis.call('SADD', 'followers:' .. leader, ARGV[1])
  redis.call('HSET', KEYS[1], 'leader', leader)
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 2
end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('HSET', KEYS[1], 'held', ARGV[3])
redis.call('ZADD', KEYS[2], 'XX', ARGV[3], ARGV[1])
return 1
"""

# KEYS: followers, the person's digests   ARGV: member, place   ->   who follows; from now on nobody joins
SEAL = """
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then redis.call('HDEL', KEYS[2], ARGV[2]) end
return redis.call('SMEMBERS', KEYS[1])
"""

# KEYS: entry, attempts
# ARGV: attempt or '', ttl of the attempts in s, then fields and values   ->   1, or 0 when the entry is gone
UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[1] ~= '' then
  redis.call('RPUSH', KEYS[2], ARGV[1])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return 1
"""

# The unread set holds `task id:notification id`, all with score 0, so that it is ordered by text and what one task
# announced is one range of it, however long ago that was (';' follows ':').

# Whoever listens hears of what happened in the same step, so that it is told exactly as often as it happened.

# The task of a notification is kept as `task id epoch version`, without the last two where it is not known as of which
# version of the task the person was told.
_TASK_OF = """
local function task_of(kept) return string.match(kept, '^[^ ]*') end
"""

# KEYS: stream, tasks by notification, read marks, unread set, erased flag, live stream
# ARGV: notification id, task id, limit, what is told of it or '', read mark or '', ' epoch version' or '', then the
# entry's fields and values
ADD = f"""{TELL}{_TASK_OF}
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 7))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ARGV[6])
if ARGV[5] == '' then
  redis.call('ZADD', KEYS[4], 0, ARGV[2] .. ':' .. ARGV[1])
else
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
end
while redis.call('XLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[1], oldest[1])
  for i = 1, #oldest[2], 2 do
    if oldest[2][i] == 'notification_id' then
      local id = oldest[2][i + 1]
      redis.call('ZREM', KEYS[4], task_of(redis.call('HGET', KEYS[2], id)) .. ':' .. id)
      redis.call('HDEL', KEYS[2], id)
      redis.call('HDEL', KEYS[3], id)
    end
  end
end
if ARGV[4] ~= '' then tell(KEYS[6], '{Kind.NOTIFICATION}', ARGV[4]) end
return 1
"""

_TELL_READ = f"""{TELL}
local function tell_read(stream, ids, cleared, unread)
  if #ids == 0 then return end
  local data = {{notification_ids = ids, cleared = cleared, unread = redis.call('ZCARD', unread)}}
  tell(stream, '{Kind.NOTIFICATION_READ}', cjson.encode(data))
end
"""

# KEYS: tasks by notification, read marks, unread set, live stream
# ARGV: mark, task id, epoch and version that closed it   ->   how many were unread and not of a later version
CLEAR = f"""{_TELL_READ}
local ids, closed_in, closed_by = {{}}, tonumber(ARGV[3]), tonumber(ARGV[4])
local unread = redis.call('ZRANGE', KEYS[3], '[' .. ARGV[2] .. ':', '(' .. ARGV[2] .. ';', 'BYLEX')
for _, member in ipairs(unread) do
  local id = string.sub(member, #ARGV[2] + 2)
  local epoch, version = string.match(redis.call('HGET', KEYS[1], id) or '', ' (%d+) (%d+)$')
  epoch, version = tonumber(epoch or 0), tonumber(version or 0)
  if epoch < closed_in or (epoch == closed_in and version <= closed_by) then
    table.insert(ids, id)
    redis.call('HSET', KEYS[2], id, ARGV[1])
    redis.call('ZREM', KEYS[3], member)
  end
end
tell_read(KEYS[4], ids, true, KEYS[3])
return #ids
"""

# KEYS: tasks by notification, read marks, unread set, due set of marks to tell, live stream
# ARGV: now, person's id, notification id   ->   0 when there is no such notification
MARK_READ = f"""{_TELL_READ}{_TASK_OF}
local task = redis.call('HGET', KEYS[1], ARGV[3])
if not task then return 0 end
if redis.call('ZREM', KEYS[3], task_of(task) .. ':' .. ARGV[3]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[1])
  redis.call('ZADD', KEYS[4], ARGV[1], ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[1])
  tell_read(KEYS[5], {{ARGV[3]}}, false, KEYS[3])
end
return 1
"""

# KEYS: read marks, unread set, due set of marks to tell, live stream   ARGV: now, person's id, at most
# ->   how many were unread
MARK_SOME_READ = f"""{_TELL_READ}
local ids = {{}}
local unread = redis.call('ZRANGE', KEYS[2], 0, ARGV[3] - 1)
for _, member in ipairs(unread) do
  local id = string.sub(member, string.find(member, ':', 1, true) + 1)
  redis.call('HSET', KEYS[1], id, ARGV[1])
  redis.call('ZADD', KEYS[3], ARGV[1], ARGV[2] .. ':' .. id .. ':' .. ARGV[1])
  redis.call('ZREM', KEYS[2], member)
  table.insert(ids, id)
end
tell_read(KEYS[4], ids, false, KEYS[2])
return #unread
"""

# KEYS: link   ARGV: now, end of the link   ->   when it was first followed, or false when it is used up
BEGIN_LINK = """
if redis.call('HEXISTS', KEYS[1], 'used_up') == 1 then return false end
redis.call('HSETNX', KEYS[1], 'first', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'first')
"""
