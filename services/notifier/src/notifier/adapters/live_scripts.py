"""The Lua of the live streams. A person has one only while somebody of theirs listens, or did in the last day."""

from __future__ import annotations

from datetime import timedelta

from notifier.domain.live import Kind

CHANNEL = "live"
"""Where every process hears whose stream has something new: the stream's key, and no more."""
LENGTH = 1_000
KEPT = timedelta(hours=24)
_KEPT_S = int(KEPT.total_seconds())
# Longer than news are let in, by what two machines' clocks may differ.
_SEEN_S = int((KEPT + timedelta(hours=1)).total_seconds())

TELL = f"""
local function tell(stream, kind, data)
  if not redis.call('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '=', {LENGTH}, '*', 'kind', kind, 'data', data) then
    return
  end
  redis.call('XTRIM', stream, 'MINID', '=', (redis.call('TIME')[1] - {_KEPT_S}) * 1000)
  redis.call('PUBLISH', '{CHANNEL}', stream)
end
"""

# KEYS: stream, erased flag   ->   the position of the newest event, or false for a person who was erased
BEGIN = f"""
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local position
if #last > 0 then
  position = last[1][1]
else
  position = redis.call('XADD', KEYS[1], '*', 'kind', '{Kind.START}', 'data', '')
end
redis.call('EXPIRE', KEYS[1], {_KEPT_S})
return position
"""

# Which version of the task was told last is remembered for as long as news may come again; of what is older nobody can
# say any more whether it was told, so that all that can be said is: begin anew.
# KEYS: stream, newest version told   ARGV: epoch, version, when it happened in ms, data   ->   1 when it was told
TELL_TASK = f"""{TELL}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local seen = redis.call('GET', KEYS[2])
if seen then
  local epoch, version = string.match(seen, '(%d+):(%d+)')
  epoch, version = tonumber(epoch), tonumber(version)
  if epoch > tonumber(ARGV[1]) or (epoch == tonumber(ARGV[1]) and version >= tonumber(ARGV[2])) then return 0 end
end
redis.call('SET', KEYS[2], ARGV[1] .. ':' .. ARGV[2], 'EX', {_SEEN_S})
if tonumber(ARGV[3]) >= (redis.call('TIME')[1] - {_KEPT_S}) * 1000 then
  tell(KEYS[1], '{Kind.TASK}', ARGV[4])
  return 1
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1][2][2] ~= '{Kind.RESET}' then tell(KEYS[1], '{Kind.RESET}', '{{}}') end
return 0
"""
