"""The Lua that makes a step on an upload atomic.

Rules that all of them keep:
- No payload passes through Lua (it costs Redis several times as much). The tail is written by
  SETRANGE in the same MULTI, under a name that carries the fence; the script only looks at its
  length and moves the pointer.
- Repeating a script changes nothing more: the client retries a call whose answer it lost. Values
  are absolute; an acquisition recognises its own token.
- No arithmetic on sizes: Lua's numbers are doubles. Offsets pass through as text.

KEYS are always record, parts, lease, waiting. The tail's name is made from the record inside the
script; it shares the record's hash tag, hence its slot.

Fields of the record: key, length, metadata, expires, layout, parts, multipart, recovery, state,
fence (number of the last acquisition), holder (token of the lease until it is given up), base and
tail (first offset and length of the tail).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

_TAIL = """
local function tail_of(fence, base)
  return KEYS[1] .. ':tail:' .. fence .. ':' .. base
end
"""

_NOTIFY = """
local function free(prefix, id)
  for _, worker in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    redis.call('PUBLISH', prefix .. 'worker:' .. worker, 'free ' .. id)
  end
  redis.call('DEL', KEYS[3], KEYS[4])
  redis.call('HDEL', KEYS[1], 'holder')
end
"""

_ASK = """
local function ask(owner, prefix, id, worker, wait_ms)
  redis.call('SADD', KEYS[4], worker)
  redis.call('PEXPIRE', KEYS[4], wait_ms)
  redis.call('PUBLISH', prefix .. 'worker:' .. string.match(owner, '^[^.]*'), 'release ' .. id)
end
"""

_READ = """
local function read()
  local record = redis.call('HGETALL', KEYS[1])
  local at = redis.call('HMGET', KEYS[1], 'fence', 'base')
  return record, redis.call('STRLEN', tail_of(at[1], at[2]))
end
"""


@dataclass(frozen=True)
class Script:
    """A Lua script and the digest Redis knows it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # SHA-1 names scripts in EVALSHA (Redis); nothing depends on it being hard to collide.
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


ACQUIRE = Script(
    _TAIL
    + _ASK
    + _READ
    + """
-- ARGV: token, lease ttl (ms), id, worker, prefix, wait (ms)
local fence = redis.call('HGET', KEYS[1], 'fence')
if not fence then return {'missing'} end
local owner = redis.call('GET', KEYS[3])
if owner and owner ~= ARGV[1] then
  ask(owner, ARGV[5], ARGV[3], ARGV[4], ARGV[6])
  return {'held', redis.call('PTTL', KEYS[3])}
end
if not owner then
  local old = tail_of(fence, redis.call('HGET', KEYS[1], 'base'))
  redis.call('HINCRBY', KEYS[1], 'fence', 1)
  fence = redis.call('HGET', KEYS[1], 'fence') -- as text: Lua would round a large number
  redis.call('HSET', KEYS[1], 'holder', ARGV[1])
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
  if redis.call('EXISTS', old) == 1 then
    redis.call('RENAME', old, tail_of(fence, redis.call('HGET', KEYS[1], 'base')))
  end
end
local record, stored = read()
return {'ok', record, stored}
"""
)
"""Take the lease, move the tail under the new fence, and read the record; or ask the holder."""

INSPECT = Script(
    _TAIL
    + _ASK
    + _READ
    + """
-- ARGV: id, worker, prefix, wait (ms)
if redis.call('EXISTS', KEYS[1]) == 0 then return {'missing'} end
local owner = redis.call('GET', KEYS[3])
if owner then
  ask(owner, ARGV[3], ARGV[1], ARGV[2], ARGV[4])
  return {'held', redis.call('PTTL', KEYS[3])}
end
local record, stored = read()
return {'ok', record, stored}
"""
)
"""Read the record if nobody holds it; otherwise ask the holder to let go."""

COMMIT = Script(
    _TAIL
    + _NOTIFY
    + """
-- ARGV: fence, token, base, tail, expire at (ms), release (0|1), id, prefix, first part number,
--       number of etags, the etags, then field, value, field, value, ...
local tail_key = tail_of(ARGV[1], ARGV[3])
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then
  redis.call('DEL', tail_key)
  return 'fenced'
end
if redis.call('STRLEN', tail_key) < tonumber(ARGV[4]) then return 'short' end
local old_base = redis.call('HGET', KEYS[1], 'base')
local first, etags = tonumber(ARGV[9]), tonumber(ARGV[10])
for i = 1, etags do
  redis.call('HSET', KEYS[2], first + i - 1, ARGV[10 + i])
end
redis.call('HSET', KEYS[1], 'base', ARGV[3], 'tail', ARGV[4])
for i = 11 + etags, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
if old_base ~= ARGV[3] then redis.call('DEL', tail_of(ARGV[1], old_base)) end
if redis.call('HGET', KEYS[1], 'state') == 'complete' then
  redis.call('DEL', tail_key, KEYS[2])
end
for _, key in ipairs({KEYS[1], KEYS[2], tail_key}) do
  redis.call('PEXPIREAT', key, ARGV[5])
end
if ARGV[6] == '1' and redis.call('GET', KEYS[3]) == ARGV[2] then free(ARGV[8], ARGV[7]) end
return 'ok'
"""
)
"""Check the fence, then write: parts, the tail's place and length, fields, expiry."""

RENEW = Script(
    """
-- ARGV: token, lease ttl (ms)
local owner = redis.call('GET', KEYS[3])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
elseif owner or redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then
  return 'lost'
else
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
end
return redis.call('EXISTS', KEYS[4]) == 1 and 'wanted' or 'ok'
"""
)
"""Prolong a lease, also one that ran out while nobody else wanted it; say whether it is wanted.

The record's `holder` tells a lease that ran out from one that was given up while its renewal was
on the way: that one must not come back, or it would block the upload for a whole TTL."""

RELEASE = Script(
    _NOTIFY
    + """
-- ARGV: token, id, prefix
if redis.call('GET', KEYS[3]) == ARGV[1] then free(ARGV[3], ARGV[2]) end
return 'ok'
"""
)
"""Give up the lease and wake those who wait."""

FORGET = Script(
    _TAIL
    + _NOTIFY
    + """
-- ARGV: fence, id, prefix
local at = redis.call('HMGET', KEYS[1], 'fence', 'base')
if not at[1] then return 'ok' end
if at[1] ~= ARGV[1] then return 'fenced' end
redis.call('DEL', tail_of(at[1], at[2]), KEYS[1], KEYS[2])
free(ARGV[3], ARGV[2])
return 'ok'
"""
)
"""Remove everything of an upload."""

RESTORE = Script(
    """
-- ARGV: expire at (ms), number of etags, the etags, then field, value, field, value, ...
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
local etags = tonumber(ARGV[2])
for number = 1, etags do
  redis.call('HSET', KEYS[2], number, ARGV[2 + number])
end
for i = 3 + etags, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[2], ARGV[1])
return 'ok'
"""
)
"""Store a record that was lost, with the ETags of its parts, unless there is one."""

ALL = (RESTORE, ACQUIRE, INSPECT, COMMIT, RENEW, RELEASE, FORGET)
