"""The Lua that makes a step on an upload atomic.

Rules that all of them keep:
- No payload passes through Lua (it costs Redis several times as much). The tail is written by
  SETRANGE just before, under a name that carries the holder's token; the script only looks at its
  length and moves the pointer. Bytes beyond the recorded length do not exist.
- A commit names the state it builds on: the holder's token and the last commit it knows to have
  been made. If the record is in any other state, because somebody else took the lease, because
  Redis fell back to an older copy or because a commit thought lost was made, nothing changes.
- Repeating a script changes nothing more: the client retries a call whose answer it lost.
- No arithmetic on sizes: Lua's numbers are doubles. Offsets pass through as text.

KEYS are record, parts, lease, waiting where a script does not say otherwise. The tail's name is
made from the record inside the script; it shares the record's hash tag, hence its slot.

Fields of the record: key, length, metadata, expires, layout, parts, multipart, starting, recovery,
staged, state, base and tail (first offset and length of the tail), parked (name of the S3 object
that holds the tail), concat and join (of partial and final uploads), holder (token of the last
acquisition), step (its last commit), held (whether the lease was not given up yet), checked (the
run of Redis in which the record was last known to be true).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

_ALSO_WHEN_FULL = """
-- At maxmemory Redis refuses, in a script that has not written yet, every command that may need
-- memory. This one needs none and changes nothing. Leases and fields are small, and without them
-- nothing could be completed, moved away or removed; payload, outside of scripts, stays refused.
redis.call('HDEL', KEYS[1], '')
"""

_TAIL = """
local function tail_of(holder, base)
  return KEYS[1] .. ':tail:' .. holder .. ':' .. base
end
"""

_RUN = """
-- Names this run of this Redis as a primary: after a restart or a failover, also one back to a
-- server that was the primary before, records may be older than they were.
local function run()
  local server, replication = redis.pcall('INFO', 'server'), redis.pcall('INFO', 'replication')
  if type(server) ~= 'string' or type(replication) ~= 'string' then return '' end
  local process = string.match(server, 'run_id:(%w+)') or ''
  return process .. ':' .. (string.match(replication, 'master_replid:(%w+)') or '')
end
"""

_NOTIFY = """
local function free(prefix, id)
  for _, worker in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    redis.call('PUBLISH', prefix .. 'worker:' .. worker, 'free ' .. id)
  end
  redis.call('DEL', KEYS[3], KEYS[4])
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'held', '0') end
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
  local at = redis.call('HMGET', KEYS[1], 'holder', 'base')
  local stored = redis.call('STRLEN', tail_of(at[1], at[2]))
  return {'ok', redis.call('HGETALL', KEYS[1]), stored, run()}
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


_MAY_COMMIT = """
-- Whether the holder of `token` may make commit `step` upon commit `last`: 'go', 'done', 'fenced'.
local function may_commit(token, last, step)
  local at = redis.call('HMGET', KEYS[1], 'holder', 'step')
  if at[1] ~= token then return 'fenced' end
  if at[2] == step then return 'done' end
  return at[2] == last and 'go' or 'fenced'
end
"""

CREATE = Script(
    _RUN
    + """
-- ARGV: expire at (ms), token ('' for no lease), lease ttl (ms), number of etags, the etags,
--       then field, value, field, value, ...
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and (ARGV[2] == '' or holder ~= ARGV[2]) then return 'exists' end
if not holder then
  local etags = tonumber(ARGV[4])
  for number = 1, etags do
    redis.call('HSET', KEYS[2], number, ARGV[4 + number])
  end
  for i = 5 + etags, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
  redis.call('HSET', KEYS[1], 'holder', ARGV[2], 'step', '0', 'checked', run())
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
  redis.call('PEXPIREAT', KEYS[2], ARGV[1])
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'held', '1')
  redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
end
return 'ok'
"""
)
"""Store a record that is new or was lost, unless there is one; with its lease if asked."""

ACQUIRE = Script(
    _ALSO_WHEN_FULL
    + _TAIL
    + _RUN
    + _ASK
    + _READ
    + """
-- ARGV: token, lease ttl (ms), id, worker, prefix, wait (ms), ask a holder to let go (0|1)
local at = redis.call('HMGET', KEYS[1], 'holder', 'base', 'tail', 'parked')
if not at[1] then return {'missing'} end
local owner = redis.call('GET', KEYS[3])
if owner and owner ~= ARGV[1] then
  if ARGV[7] == '1' then ask(owner, ARGV[5], ARGV[3], ARGV[4], ARGV[6]) end
  return {'held', redis.call('PTTL', KEYS[3])}
end
local tail = tail_of(ARGV[1], at[2])
if at[1] ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'step', '0')
  local old = tail_of(at[1], at[2])
  if redis.call('EXISTS', old) == 1 then redis.call('RENAME', old, tail) end
end
redis.call('HSET', KEYS[1], 'held', '1')
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
local answer = read()
if at[4] == '' and answer[3] < tonumber(at[3]) then
  redis.call('HSET', KEYS[1], 'tail', '0') -- so that what the holder believes is what is recorded
end
return answer
"""
)
"""Take the lease, move the tail under the new token, and read the record; or ask the holder."""

INSPECT = Script(
    _ALSO_WHEN_FULL
    + _TAIL
    + _RUN
    + _ASK
    + _READ
    + """
-- ARGV: id, worker, prefix, wait (ms)
if redis.call('EXISTS', KEYS[1]) == 0 then return {'missing'} end
local owner = redis.call('GET', KEYS[3])
local concat = redis.call('HGET', KEYS[1], 'concat') or ''
if owner and string.sub(concat, 1, 6) ~= 'final;' then
  ask(owner, ARGV[3], ARGV[1], ARGV[2], ARGV[4])
  return {'held', redis.call('PTTL', KEYS[3])}
end
return read()
"""
)
"""Read the record if nobody holds it, or if it is a final upload's, to which nobody adds; otherwise
ask the holder to let go."""

COMMIT = Script(
    _ALSO_WHEN_FULL
    + _TAIL
    + _RUN
    + _NOTIFY
    + _MAY_COMMIT
    + """
-- ARGV: token, last step, step, base, tail, parked, expire at (ms), release (0|1), verified (0|1),
--       id, prefix, first part number, number of etags, the etags, then field, value, ...
local tail = tail_of(ARGV[1], ARGV[4])
local verdict = may_commit(ARGV[1], ARGV[2], ARGV[3])
if verdict == 'done' then return 'ok' end
if verdict == 'fenced' then
  local at = redis.call('HMGET', KEYS[1], 'holder', 'base')
  if not at[1] or tail_of(at[1], at[2]) ~= tail then redis.call('DEL', tail) end
  return 'fenced'
end
if ARGV[6] == '' and redis.call('STRLEN', tail) < tonumber(ARGV[5]) then return 'short' end
local old_base = redis.call('HGET', KEYS[1], 'base')
local first, etags = tonumber(ARGV[12]), tonumber(ARGV[13])
for i = 1, etags do
  redis.call('HSET', KEYS[2], first + i - 1, ARGV[13 + i])
end
redis.call('HSET', KEYS[1], 'step', ARGV[3], 'base', ARGV[4], 'tail', ARGV[5], 'parked', ARGV[6])
if ARGV[9] == '1' then redis.call('HSET', KEYS[1], 'checked', run()) end
for i = 14 + etags, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
if old_base ~= ARGV[4] then redis.call('DEL', tail_of(ARGV[1], old_base)) end
if ARGV[6] ~= '' then redis.call('DEL', tail) end
if redis.call('HGET', KEYS[1], 'state') == 'complete' then
  redis.call('DEL', tail, KEYS[2])
end
for _, key in ipairs({KEYS[1], KEYS[2], tail}) do
  redis.call('PEXPIREAT', key, ARGV[7])
end
if ARGV[8] == '1' and redis.call('GET', KEYS[3]) == ARGV[1] then free(ARGV[11], ARGV[10]) end
return 'ok'
"""
)
"""Check the fence, then write: parts, the tail's place and length, fields, expiry."""

REBUILD = Script(
    _ALSO_WHEN_FULL
    + _TAIL
    + _RUN
    + _MAY_COMMIT
    + """
-- ARGV: token, last step, step, expire at (ms), number of etags, the etags, then field, value, ...
local verdict = may_commit(ARGV[1], ARGV[2], ARGV[3])
if verdict ~= 'go' then return verdict == 'done' and 'ok' or verdict end
redis.call('DEL', tail_of(ARGV[1], redis.call('HGET', KEYS[1], 'base')), KEYS[2])
local etags = tonumber(ARGV[5])
for number = 1, etags do
  redis.call('HSET', KEYS[2], number, ARGV[5 + number])
end
redis.call('HSET', KEYS[1], 'step', ARGV[3], 'checked', run())
for i = 6 + etags, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
redis.call('PEXPIREAT', KEYS[2], ARGV[4])
return 'ok'
"""
)
"""Replace a held upload's record by what S3 shows of it; its tail in Redis goes."""

RENEW = Script(
    _ALSO_WHEN_FULL
    + """
-- ARGV: token, lease ttl (ms)
local owner = redis.call('GET', KEYS[3])
local at = redis.call('HMGET', KEYS[1], 'holder', 'held')
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
elseif owner or at[1] ~= ARGV[1] or at[2] ~= '1' then
  return 'lost'
else
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
end
return redis.call('EXISTS', KEYS[4]) == 1 and 'wanted' or 'ok'
"""
)
"""Prolong a lease, also one that ran out while nobody else wanted it; say whether it is wanted.

The record's `held` tells a lease that ran out from one that was given up while its renewal was on
the way: that one must not come back, or it would block the upload for a whole TTL."""

RELEASE = Script(
    _NOTIFY
    + """
-- ARGV: token, id, prefix
if redis.call('GET', KEYS[3]) == ARGV[1] then
  free(ARGV[3], ARGV[2])
elseif redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'held', '0')
end
return 'ok'
"""
)
"""Give up the lease and wake those who wait."""

FORGET = Script(
    _TAIL
    + _NOTIFY
    + """
-- ARGV: token, id, prefix
local at = redis.call('HMGET', KEYS[1], 'holder', 'base')
if not at[1] then return 'ok' end
if at[1] ~= ARGV[1] then return 'fenced' end
redis.call('DEL', tail_of(at[1], at[2]), KEYS[2])
free(ARGV[3], ARGV[2])
redis.call('DEL', KEYS[1])
return 'ok'
"""
)
"""Remove everything of an upload."""

CLAIM = Script(
    """
-- KEYS: the creation. ARGV: id, expire at (ms), id that may be replaced ('' for none)
local now = redis.call('GET', KEYS[1])
if now and now ~= ARGV[3] then return now end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return ARGV[1]
"""
)
"""Let a creation's name mean an upload."""

SIGHT = Script(
    """
-- ARGV: id, prefix, worker that watches
local owner = redis.call('GET', KEYS[3])
if owner then
  local holder = string.match(owner, '^[^.]*')
  redis.call('PUBLISH', ARGV[2] .. 'worker:' .. holder, 'watched ' .. ARGV[1] .. ' ' .. ARGV[3])
end
return {redis.call('HGETALL', KEYS[1]), owner or ''}
"""
)
"""Read the record and who holds it, and tell that holder who watches. Changes nothing."""

LOOK = Script(
    """
-- KEYS: record and lease of each upload. ARGV: whether to leave out what is finished (0|1)
local found = {}
for i = 1, #KEYS, 2 do
  local at = redis.call('HMGET', KEYS[i], 'state', 'concat')
  if ARGV[1] == '0' or at[1] ~= 'complete' or at[2] == 'partial' then
    local record = redis.call('HGETALL', KEYS[i])
    if #record > 0 then
      found[#found + 1] = {(i + 1) / 2, record, redis.call('EXISTS', KEYS[i + 1])}
    end
  end
end
return found
"""
)
"""Read the records of many uploads, and whether they are held; one at a time in a cluster. Each
with its place among the KEYS, counted from 1. Changes nothing."""

TELL = Script("return redis.call('PUBLISH', KEYS[1], ARGV[1])")
"""Send a message (ARGV) to a channel (KEYS, so that a cluster's client knows where to go)."""

ALL = (CLAIM, CREATE, ACQUIRE, INSPECT, COMMIT, REBUILD, RENEW, RELEASE, FORGET, SIGHT, LOOK, TELL)
