-- What every script begins with: the time, and the state of one budget.
--
-- A state is a string: a head, then one section per window and share, each with
-- a log of charges in the order of time:
--
--   head     version B, latest I6, ends I6, raises I2c0
--   raise    unit B, seconds I4 (0: every window), add i8, end I6
--   section  id I4, kind B, base I6, near I6, sum I8, share I2c0, log I2c0
--   entry    time I5, amount I4          messages, recipients, bytes
--            time I5, amount I6          where an amount needs it
--            time I5, fresh B, hash c8   distinct recipients
--
-- latest is the time of the last charge, ends when the last one is over. The id
-- is 4 * seconds + unit. Times are milliseconds of the server's clock, in
-- entries counted from base. Up to 80 charges stand by themselves. Beyond, those
-- that lie in the same 80th of the window are joined at the time of the last: so
-- none is forgotten early, none is kept for more than an 80th too long, and a log
-- has 81 entries at most. kind is 1 when entries were joined, plus 2 for the wide
-- amounts; of distinct recipients it is the level: beyond 1024, only hashes that
-- begin with level zero bits are kept, and each stands for 2^level recipients.
-- near is when the window last came near its number.
--
-- Most decisions need little of what stands here. A function costs time when it
-- is made, so those for rare cases are made by rarely(). Sections and windows
-- are lists, for the same reason. A local in capitals with a number is put in
-- for its name before the script goes to the server.

local call, pack, unpack = redis.call, struct.pack, struct.unpack
local sub, floor, max = string.sub, math.floor, math.max

local clock = call('TIME')
local us = clock[1] * 1000000 + clock[2]
-- now is the millisecond that has come, tick the one a charge is put to: apart,
-- they keep every charge for its full window.
local now = floor(us / 1000)
local tick = us % 1000 > 0 and now + 1 or now

local DISTINCT = 3
local EXACT, CELLS, SAMPLES = 80, 80, 1024
local WIDE = 4294967296
local RAISE = 19

-- of sections and windows
local ID, UNIT, LEN, SHARE, NEAR = 1, 2, 3, 4, 5
-- of sections; ADD is what this call charges, OTHER the next of the same id
local KIND, BASE, SUM, LOG, ADD, OTHER, WIDTH, FORM = 6, 7, 8, 9, 10, 11, 12, 13

local rare, rarely

-- used is what a section counts.
local function used(s)
  if s[UNIT] == DISTINCT then return #s[LOG] / s[WIDTH] * 2 ^ s[KIND] end
  return s[SUM]
end

-- load reads the state under a key, and drops what has passed.
local function load(key)
  local st = { key = key, sections = {}, first = {}, raises = '', ends = 0, dirty = false }
  local v = call('GET', key)
  if not v then return st end
  local latest, ends, raises, p = unpack('>I6I6I2c0', v, 2)
  st.raises, st.ends = raises, ends
  local count, size = 0, #v
  while p <= size do
    local id, kind, base, near, sum, share, log, after = unpack('>I4BI6I6I8I2c0I2c0', v, p)
    local unit = id % 4
    local len = (id - unit) * 250
    local width, form = 9, '>I5I4'
    if unit == DISTINCT then
      width, form = 14, '>I5B'
    elseif kind >= 2 then
      width, form = 11, '>I5I6'
    end
    local from, n, over = 1, #log, now - len - base
    while from <= n do
      local t, amount = unpack(form, log, from)
      if t > over then break end
      sum, from = sum - amount, from + width
    end
    if near ~= 0 and now - near >= len then near = 0 end
    if from > n then
      log, sum, kind = '', 0, 0
      if width == 11 then width, form = 9, '>I5I4' end
    elseif from > 1 then
      log = sub(log, from)
    end
    local s = { id, unit, len, share, near, kind, base, sum, log, 0, st.first[id] or false, width, form }
    count = count + 1
    st.sections[count], st.first[id], p = s, s, after
  end
  if latest > tick or raises ~= '' then rarely().correct(st) end
  return st
end

local function section(st, id, share)
  local s = st.first[id]
  while s and s[SHARE] ~= share do s = s[OTHER] end
  return s or nil
end

local function openSection(st, id, share)
  local s = section(st, id, share)
  if s then return s end
  local unit = id % 4
  local width, form = 9, '>I5I4'
  if unit == DISTINCT then width, form = 14, '>I5B' end
  s = { id, unit, (id - unit) * 250, share, 0, 0, 0, 0, '', 0, st.first[id] or false, width, form }
  st.sections[#st.sections + 1], st.first[id] = s, s
  return s
end

-- append puts n at the end of a log, at tick: it returns the entry that is to
-- follow the log, so that save copies the log once.
local function append(s, n)
  local log, width, form = s[LOG], s[WIDTH], s[FORM]
  if log == '' then
    s[BASE], s[KIND] = tick, 0
  else
    local at = #log - width + 1
    local last, amount = unpack(form, log, at)
    last = last + s[BASE]
    if last < tick and #log >= EXACT * width then
      if floor(last * CELLS / s[LEN]) == floor(tick * CELLS / s[LEN]) then
        s[KIND] = s[KIND] - s[KIND] % 2 + 1
        last = tick
      else
        rarely().joinCells(s, rarely().decode(s))
        log, width, form = s[LOG], s[WIDTH], s[FORM]
      end
    end
    if last == tick then
      n, log = n + amount, sub(log, 1, at - 1)
    end
  end
  if n >= WIDE and width == 9 then
    s[LOG] = log
    rarely().widen(s, n)
    return ''
  end
  s[LOG] = log
  return pack(form, tick - s[BASE], n)
end

-- save writes the state, to live a second longer than anything in it counts. No
-- log is to be read afterwards.
local function save(st)
  local out, n, ends = { '' }, 1, st.ends
  for i = 1, #st.sections do
    local s, entry = st.sections[i], ''
    if s[ADD] > 0 then
      entry = append(s, s[ADD])
      s[ADD] = 0
      ends = max(ends, tick + s[LEN])
    end
    local share, log = s[SHARE], s[LOG]
    local size = #log + #entry
    if size > 0 or s[NEAR] ~= 0 then
      out[n + 1] = pack('>I4BI6I6I8I2c0I2', s[ID], s[KIND], s[BASE], s[NEAR], s[SUM], #share, share, size)
      out[n + 2], out[n + 3] = log, entry
      n = n + 3
    end
  end
  if n == 1 and st.raises == '' or ends <= now then return call('DEL', st.key) end
  out[1] = pack('>BI6I6I2c0', 1, tick, ends, #st.raises, st.raises)
  call('SET', st.key, table.concat(out), 'PX', ends - now + 1000)
end

-- setMark notes the outcome of an attempt.
local function setMark(key, field, value)
  call('HSET', key, field, value)
  call('PEXPIRE', key, '90000')
end

function rarely()
  if rare then return rare end
  local find, min = string.find, math.min

  local function count(s) return #s[LOG] / s[WIDTH] end

  local function cell(s, t) return floor(t * CELLS / s[LEN]) end

  -- decode lists the times and amounts of a log; of distinct recipients the
  -- amounts are flag and hash.
  local function decode(s)
    local times, amounts = {}, {}
    for p = 1, #s[LOG], s[WIDTH] do
      local t, n = unpack(s[FORM], s[LOG], p)
      if s[UNIT] == DISTINCT then n = sub(s[LOG], p + 5, p + 13) end
      times[#times + 1], amounts[#amounts + 1] = s[BASE] + t, n
    end
    return times, amounts
  end

  -- encode writes them. base stays at the first charge ever: what is given back
  -- of a time before it was charged to a state that is lost.
  local function encode(s, times, amounts)
    local base, out = times[1] or 0, {}
    if s[LOG] ~= '' then base = min(base, s[BASE]) end
    if s[UNIT] ~= DISTINCT then
      s[KIND], s[WIDTH], s[FORM] = s[KIND] % 2, 9, '>I5I4'
      for i = 1, #amounts do
        if amounts[i] >= WIDE then s[KIND], s[WIDTH], s[FORM] = s[KIND] % 2 + 2, 11, '>I5I6' end
      end
    end
    for i = 1, #times do
      if s[UNIT] == DISTINCT then
        out[i] = pack('>I5', times[i] - base) .. amounts[i]
      else
        out[i] = pack(s[FORM], times[i] - base, amounts[i])
      end
    end
    s[BASE], s[LOG] = base, table.concat(out)
  end

  local function widen(s, n)
    local times, amounts = decode(s)
    times[#times + 1], amounts[#amounts + 1] = tick, n
    encode(s, times, amounts)
  end

  -- joinCells joins the charges of each 80th of the window.
  local function joinCells(s, times, amounts)
    local ts, ns = {}, {}
    for i = 1, #times do
      local k = #ts
      if k > 0 and cell(s, ts[k]) == cell(s, times[i]) then
        ts[k], ns[k] = times[i], ns[k] + amounts[i]
        s[KIND] = s[KIND] - s[KIND] % 2 + 1
      else
        ts[k + 1], ns[k + 1] = times[i], amounts[i]
      end
    end
    encode(s, ts, ns)
  end

  -- correct drops raises that have ended, and counts what lies in the future as
  -- of now: the clock was set back.
  local function correct(st)
    local live, future = '', false
    for r = 1, #st.raises, RAISE do
      if unpack('>I6', st.raises, r + 13) > now then live = live .. sub(st.raises, r, r + RAISE - 1) end
    end
    st.raises = live
    for _, s in ipairs(st.sections) do
      local times, amounts = decode(s)
      if s[NEAR] > tick or #times > 0 and times[#times] > tick then
        for i = 1, #times do times[i] = min(times[i], tick) end
        s[NEAR], future = min(s[NEAR], tick), true
        if s[UNIT] ~= DISTINCT and #times > EXACT then
          joinCells(s, times, amounts)
        else
          encode(s, times, amounts)
        end
      end
    end
    st.dirty = st.dirty or future
  end

  -- insert puts n to a time that may have charges after it.
  local function insert(st, s, t, n)
    local times, amounts = decode(s)
    local i = 1
    while times[i] and times[i] < t do i = i + 1 end
    if times[i] == t then
      amounts[i] = amounts[i] + n
    else
      table.insert(times, i, t)
      table.insert(amounts, i, n)
    end
    s[SUM] = s[SUM] + n
    if #times > EXACT then
      joinCells(s, times, amounts)
    else
      encode(s, times, amounts)
    end
    st.ends = max(st.ends, t + s[LEN])
  end

  -- giveBack takes n off the entry that was charged at a time.
  local function giveBack(s, at, n)
    if n <= 0 or s[LOG] == '' or now - at >= s[LEN] or at < s[BASE] then return end
    local low, high = 0, count(s)
    while low < high do
      local mid = floor((low + high) / 2)
      if s[BASE] + unpack('>I5', s[LOG], mid * s[WIDTH] + 1) < at then low = mid + 1 else high = mid end
    end
    local p = low * s[WIDTH] + 1
    if p > #s[LOG] then return end
    local t, amount = unpack(s[FORM], s[LOG], p)
    local joined = s[KIND] % 2 == 1 and cell(s, s[BASE] + t) == cell(s, at)
    if s[BASE] + t ~= at and not joined then return end
    local left = max(0, amount - n)
    local entry = left > 0 and pack(s[FORM], t, left) or ''
    s[SUM] = s[SUM] - amount + left
    s[LOG] = sub(s[LOG], 1, p - 1) .. entry .. sub(s[LOG], p + s[WIDTH])
  end

  -- search finds a recipient in a log: where its entry begins, or nil.
  local function search(s, hash)
    local p = find(s[LOG], hash, 1, true)
    while p do
      if p % 14 == 7 then return p - 6 end
      p = find(s[LOG], hash, p + 1, true)
    end
  end

  local function isSampled(s, hash)
    return s[KIND] == 0 or unpack('>I4', hash) < 2 ^ (32 - s[KIND])
  end

  -- insertDistinct puts an entry to its place in time.
  local function insertDistinct(s, t, entry)
    if s[LOG] == '' then s[BASE] = t end
    if t < s[BASE] then
      local times, amounts = decode(s)
      table.insert(times, 1, t)
      table.insert(amounts, 1, entry)
      return encode(s, times, amounts)
    end
    local p = #s[LOG] + 1
    while p > 1 and s[BASE] + unpack('>I5', s[LOG], p - 14) > t do p = p - 14 end
    s[LOG] = sub(s[LOG], 1, p - 1) .. pack('>I5', t - s[BASE]) .. entry .. sub(s[LOG], p)
  end

  -- see charges a recipient; a fresh one may be given back.
  local function see(st, s, t, hash, fresh)
    st.ends = max(st.ends, t + s[LEN])
    local p = search(s, hash)
    if p then
      t, fresh = max(t, s[BASE] + unpack('>I5', s[LOG], p)), 0
      s[LOG] = sub(s[LOG], 1, p - 1) .. sub(s[LOG], p + 14)
    elseif not isSampled(s, hash) then
      return
    end
    insertDistinct(s, t, pack('B', fresh) .. hash)
    while count(s) > SAMPLES and s[KIND] < 32 do
      s[KIND] = s[KIND] + 1
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
    local t, fresh = unpack('>I5B', s[LOG], p)
    if fresh == 1 and s[BASE] + t == at then
      s[LOG] = sub(s[LOG], 1, p - 1) .. sub(s[LOG], p + 14)
    end
  end

  rare = {
    decode = decode, widen = widen, joinCells = joinCells, correct = correct, insert = insert,
    giveBack = giveBack, search = search, see = see, forget = forget,
  }
  return rare
end
