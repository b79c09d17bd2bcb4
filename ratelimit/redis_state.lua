-- What every script begins with: the time, and the state of one budget.
--
-- A state is a string: a version, the raises, then one section per window and
-- share, each with a log of charges in the order of time:
--
--   state    version B, raises I2c0, sections
--   raise    unit B, seconds I4 (0: every window), add i8, end I6
--   section  id I4, kind B, base I6, near I6, sum I8, share I2c0, log I2c0
--   entry    time I5, amount I4          messages, recipients, bytes
--            time I5, amount I6          where an amount needs it
--            time I5, fresh B, hash c8   distinct recipients
--
-- The id is 4 * seconds + unit. Times are milliseconds of the server's clock,
-- in entries counted from base. Up to 80 charges stand by themselves. Beyond,
-- those that lie in the same 80th of the window are joined at the time of the
-- last: so none is forgotten early, none is kept for more than an 80th too long,
-- and a log has 81 entries at most. kind is 1 when entries were joined, plus 2
-- for the wide amounts; of distinct recipients it is the level: beyond 1024,
-- only hashes that begin with level zero bits are kept, and each stands for
-- 2^level recipients. near is when the window last came near its number.

local call, pack, unpack = redis.call, struct.pack, struct.unpack
local sub, find, floor, max, min = string.sub, string.find, math.floor, math.max, math.min

local clock = call('TIME')
local us = clock[1] * 1000000 + clock[2]
-- now is the millisecond that has come, tick the one a charge is put to: apart,
-- they keep every charge for its full window.
local now = floor(us / 1000)
local tick = us % 1000 > 0 and now + 1 or now

local DISTINCT = 3
local EXACT, CELLS, SAMPLES = 80, 80, 1024
local WIDE = 4294967296
local MARKS_LIVE = 90000

local function setForm(s)
  if s.unit == DISTINCT then
    s.width, s.fmt = 14, '>I5B'
  elseif s.kind >= 2 then
    s.width, s.fmt = 11, '>I5I6'
  else
    s.width, s.fmt = 9, '>I5I4'
  end
end

local function newSection(id, share)
  local s = {
    id = id, unit = id % 4, len = floor(id / 4) * 1000, kind = 0, base = 0, near = 0,
    sum = 0, share = share, log = '', add = 0, last = 0, width = 0, fmt = '', other = false,
  }
  setForm(s)
  return s
end

local function cell(s, t) return floor(t * CELLS / s.len) end

local function count(s) return #s.log / s.width end

-- used is what a section counts.
local function used(s)
  if s.unit == DISTINCT then return count(s) * 2 ^ s.kind end
  return s.sum
end

-- decode lists the times and amounts of a log; of distinct recipients the
-- amounts are flag and hash.
local function decode(s)
  local times, amounts = {}, {}
  for p = 1, #s.log, s.width do
    local t, n = unpack(s.fmt, s.log, p)
    if s.unit == DISTINCT then n = sub(s.log, p + 5, p + 13) end
    times[#times + 1], amounts[#amounts + 1] = s.base + t, n
  end
  return times, amounts
end

local function encode(s, times, amounts)
  local base, out = times[1] or 0, {}
  if s.unit ~= DISTINCT then
    s.kind = s.kind % 2
    for i = 1, #amounts do
      if amounts[i] >= WIDE then s.kind = s.kind % 2 + 2 end
    end
    setForm(s)
  end
  for i = 1, #times do
    if s.unit == DISTINCT then
      out[i] = pack('>I5', times[i] - base) .. amounts[i]
    else
      out[i] = pack(s.fmt, times[i] - base, amounts[i])
    end
  end
  s.base, s.log = base, table.concat(out)
end

-- joinCells joins the charges of each 80th of the window.
local function joinCells(s, times, amounts)
  local ts, ns = {}, {}
  for i = 1, #times do
    local k = #ts
    if k > 0 and cell(s, ts[k]) == cell(s, times[i]) then
      ts[k], ns[k] = times[i], ns[k] + amounts[i]
      s.kind = s.kind - s.kind % 2 + 1
    else
      ts[k + 1], ns[k + 1] = times[i], amounts[i]
    end
  end
  encode(s, ts, ns)
end

-- clampFuture counts what lies in the future as of now: the clock was set back.
local function clampFuture(s)
  local times, amounts = decode(s)
  for i = 1, #times do times[i] = min(times[i], tick) end
  s.near = min(s.near, tick)
  if s.unit ~= DISTINCT and #times > EXACT then
    joinCells(s, times, amounts)
  else
    encode(s, times, amounts)
  end
end

-- clean drops what has passed out of the window; true when the state must be
-- written even if nothing is charged.
local function clean(s)
  local clamped = false
  if s.near ~= 0 and now - s.near >= s.len then s.near = 0 end
  local n = #s.log
  if n > 0 then
    s.last = s.base + unpack('>I5', s.log, n - s.width + 1)
    if s.last > tick or s.near > tick then
      clampFuture(s)
      clamped, n = true, #s.log
      s.last = min(s.last, tick)
    end
  end
  local p, base, log, fmt, over = 1, s.base, s.log, s.fmt, now - s.len
  while p <= n do
    local t, amount = unpack(fmt, log, p)
    if base + t > over then break end
    s.sum = s.sum - amount
    p = p + s.width
  end
  if p > 1 then s.log = sub(log, p) end
  if p > n then
    s.log, s.sum, s.kind = '', 0, 0
    setForm(s)
  end
  return clamped
end

-- link adds a section to a state; those of one id are chained by other.
local function link(st, s)
  s.other = st.first[s.id] or false
  st.first[s.id] = s
  st.sections[#st.sections + 1] = s
end

-- load reads the state under a key.
local function load(key)
  local st = { key = key, sections = {}, first = {}, raises = '', dirty = false }
  local v = call('GET', key)
  if not v then return st end
  local raises, p = unpack('>I2c0', v, 2)
  for r = 1, #raises, 19 do
    if unpack('>I6', raises, r + 13) > now then
      st.raises = st.raises .. sub(raises, r, r + 18)
    end
  end
  local n = #v
  while p <= n do
    local id, kind, base, near, sum, share, log, after = unpack('>I4BI6I6I8I2c0I2c0', v, p)
    local s = {
      id = id, unit = id % 4, len = floor(id / 4) * 1000, kind = kind, base = base, near = near,
      sum = sum, share = share, log = log, add = 0, last = 0, width = 0, fmt = '', other = false,
    }
    setForm(s)
    if clean(s) then st.dirty = true end
    link(st, s)
    p = after
  end
  return st
end

-- append puts n at the end of a log.
local function append(s, t, n)
  local log, width = s.log, s.width
  if log == '' then
    s.base, s.kind = t, 0
    setForm(s)
  else
    local at = #log - width + 1
    local last, amount = unpack(s.fmt, log, at)
    last = last + s.base
    if last < t and #log >= EXACT * width then
      if cell(s, last) == cell(s, t) then
        s.kind = s.kind - s.kind % 2 + 1
        last = t
      else
        joinCells(s, decode(s))
      end
    end
    if last == t then
      n = n + amount
      s.log = sub(log, 1, at - 1)
    end
  end
  if n >= WIDE and s.kind < 2 then
    s.kind = s.kind + 2
    local times, amounts = decode(s)
    times[#times + 1], amounts[#amounts + 1] = t, n
    return encode(s, times, amounts)
  end
  s.log = s.log .. pack(s.fmt, t - s.base, n)
end

-- insert puts n to a time that may have charges after it.
local function insert(s, t, n)
  local times, amounts = decode(s)
  local i = 1
  while times[i] and times[i] < t do i = i + 1 end
  if times[i] == t then
    amounts[i] = amounts[i] + n
  else
    table.insert(times, i, t)
    table.insert(amounts, i, n)
  end
  s.sum = s.sum + n
  if #times > EXACT then
    joinCells(s, times, amounts)
  else
    encode(s, times, amounts)
  end
  s.last = max(s.last, t)
end

-- giveBack takes n off the entry that was charged at a time.
local function giveBack(s, at, n)
  if n <= 0 or s.log == '' or now - at >= s.len or at < s.base then return end
  local low, high = 0, count(s)
  while low < high do
    local mid = floor((low + high) / 2)
    if s.base + unpack('>I5', s.log, mid * s.width + 1) < at then low = mid + 1 else high = mid end
  end
  local p = low * s.width + 1
  if p > #s.log then return end
  local t, amount = unpack(s.fmt, s.log, p)
  if s.base + t ~= at and not (s.kind % 2 == 1 and cell(s, s.base + t) == cell(s, at)) then return end
  local left = max(0, amount - n)
  local entry = left > 0 and pack(s.fmt, t, left) or ''
  s.sum = s.sum - amount + left
  s.log = sub(s.log, 1, p - 1) .. entry .. sub(s.log, p + s.width)
end

-- search finds a recipient in a log: where its entry begins, or nil.
local function search(s, hash)
  local p = find(s.log, hash, 1, true)
  while p do
    if p % 14 == 7 then return p - 6 end
    p = find(s.log, hash, p + 1, true)
  end
end

local function isSampled(s, hash)
  return s.kind == 0 or unpack('>I4', hash) < 2 ^ (32 - s.kind)
end

-- insertDistinct puts an entry to its place in time.
local function insertDistinct(s, t, entry)
  if s.log == '' then s.base = t end
  if t < s.base then
    local times, amounts = decode(s)
    table.insert(times, 1, t)
    table.insert(amounts, 1, entry)
    return encode(s, times, amounts)
  end
  local p = #s.log + 1
  while p > 1 and s.base + unpack('>I5', s.log, p - 14) > t do p = p - 14 end
  s.log = sub(s.log, 1, p - 1) .. pack('>I5', t - s.base) .. entry .. sub(s.log, p)
end

-- see charges a recipient; a fresh one may be given back.
local function see(s, t, hash, fresh)
  s.last = max(s.last, t)
  local p = search(s, hash)
  if p then
    t, fresh = max(t, s.base + unpack('>I5', s.log, p)), 0
    s.log = sub(s.log, 1, p - 1) .. sub(s.log, p + 14)
  elseif not isSampled(s, hash) then
    return
  end
  insertDistinct(s, t, pack('B', fresh) .. hash)
  while count(s) > SAMPLES and s.kind < 32 do
    s.kind = s.kind + 1
    local times, amounts = decode(s)
    local ts, ns = {}, {}
    for i = 1, #times do
      if isSampled(s, sub(amounts[i], 2)) then ts[#ts + 1], ns[#ns + 1] = times[i], amounts[i] end
    end
    encode(s, ts, ns)
  end
end

-- forget drops a recipient whose only charge was made at a time.
local function forget(s, at, hash)
  local p = search(s, hash)
  if not p then return end
  local t, fresh = unpack('>I5B', s.log, p)
  if fresh == 1 and s.base + t == at then
    s.log = sub(s.log, 1, p - 1) .. sub(s.log, p + 14)
  end
end

local function section(st, id, share)
  local s = st.first[id]
  while s and s.share ~= share do s = s.other end
  return s or nil
end

local function openSection(st, id, share)
  local s = section(st, id, share)
  if not s then
    s = newSection(id, share)
    link(st, s)
  end
  return s
end

-- save writes the state, to live a second longer than anything in it counts.
local function save(st)
  local out, live = {}, 0
  for r = 1, #st.raises, 19 do
    live = max(live, unpack('>I6', st.raises, r + 13) - now)
  end
  for i = 1, #st.sections do
    local s = st.sections[i]
    if s.add > 0 then
      append(s, tick, s.add)
      s.add, s.last = 0, tick
    end
    local share, log = s.share, s.log
    if log ~= '' or s.near ~= 0 then
      out[#out + 1] = pack('>I4BI6I6I8I2c0I2c0', s.id, s.kind, s.base, s.near, s.sum, #share, share, #log, log)
      live = max(live, max(s.last, s.near) + s.len - now)
    end
  end
  if live <= 0 then
    call('DEL', st.key)
  else
    call('SET', st.key, pack('>BI2c0', 1, #st.raises, st.raises) .. table.concat(out), 'PX', live + 1000)
  end
end

-- setMark notes the outcome of an attempt.
local function setMark(key, field, value)
  call('HSET', key, field, value)
  call('PEXPIRE', key, MARKS_LIVE)
end
