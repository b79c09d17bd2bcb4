-- The state of one budget.
--
-- A state is a string: a head, then a section per window and share, the raises,
-- and in the order of the sections a log of charges for each:
--
--   head     version B (2), latest I6, ends I6, I2 (65535), kept I6, logs I4,
--            plain B, sections I2, raises I2
--   section  id I4, kind B, base I6, near I6, sum I8, first I6, last I6, amount I6,
--            start B, held I2, room I2, share I2c0
--   raise    unit B, seconds I4 (0: every window), add i8, end I6
--   entry    time I5, amount I4          messages, recipients, bytes
--            time I5, amount I6          where an amount needs it
--            time I5, fresh B, hash c8   distinct recipients
--
-- latest is the time of the last charge, ends when the last one is over, kept
-- the time until which Redis keeps the state, logs where the logs begin. plain
-- is the number of sections that quick.lua may use, 0 where there are others than
-- plain ones: with a share, or of distinct recipients. To the first version of all this the 65535 is an error, so that it
-- does not take a state for one of its own.
--
-- The id is 4 * seconds + unit. Times are milliseconds of the server's clock, in
-- entries counted from base. Up to 80 charges stand by themselves. Beyond, those
-- that lie in the same 80th of the window are joined at the time of the last: so
-- none is forgotten early, none is kept for more than an 80th too long, and a log
-- has 81 entries at most. kind is 1 when entries were joined, plus 2 for the wide
-- amounts; of distinct recipients it is the level: beyond 1024, only those are
-- kept whose draw begins with level zero bits, and each stands for 2^level
-- recipients. A draw goes by the hash and the period of the charge; distinct.go
-- says why. Their sections have the share KEYED; those of share '' are of an older
-- relay, whose hashes have no secret: nothing is added to them.
-- near is when the window last came near its number.
--
-- A log is a ring with room for some entries: held of them, from start on. The
-- last charge of all stands in its section (last, amount) and not in the log, but
-- for distinct recipients. first is the time of the oldest charge. In this way a
-- decision needs neither to read the logs nor to write them, as a rule.
--
-- A function costs time when it is made, so those for rare cases are made by
-- rarely(). Sections and windows are lists, for the same reason.

local DISTINCT = 3
local keyed = '\1'
local SAMPLES, RAISE = 1024, 19

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

-- shape is the width of the entries of a section, and their form.
local function shape(unit, kind)
  if unit == DISTINCT then return 14, '>I5B' end
  if kind >= 2 then return 11, '>I5I6' end
  return 9, '>I5I4'
end

-- addSection adds what was read of one, without the charges that have passed.
local function addSection(st, id, kind, base, near, sum, share, log)
  local unit = id % 4
  local len = (id - unit) * 250
  local width, form = shape(unit, kind)
  local from, n, over = 1, #log, now - len - base
  while from <= n do
    local t, amount = unpack(form, log, from)
    if t > over then break end
    sum, from = sum - amount, from + width
  end
  if near ~= 0 and now - near >= len then near = 0 end
  if from > n then
    log, sum, kind = '', 0, 0
    width, form = shape(unit, kind)
  elseif from > 1 then
    log = sub(log, from)
  end
  local s = { id, unit, len, share, near, kind, base, sum, log, 0, st.first[id] or false, width, form }
  st.sections[#st.sections + 1], st.first[id] = s, s
  return s
end

-- read takes a state apart, and returns the time of its last charge.
local function read(st, v)
  local latest, ends, _, _, at, _, count, raises = unpack('>I6I6I2I6I4BI2I2', v, 2)
  local p = HEAD + 1
  for _ = 1, count do
    local id, kind, base, near, sum, _, last, amount, start, held, room, share, after =
      unpack('>I4BI6I6I8I6I6I6BI2I2I2c0', v, p)
    local width, form = shape(id % 4, kind)
    local log = sub(v, at + start * width + 1, at + math.min(start + held, room) * width)
    if start + held > room then log = log .. sub(v, at + 1, at + (start + held - room) * width) end
    if last ~= 0 then log = log .. pack(form, last - base, amount) end
    addSection(st, id, kind, base, near, sum, share, log)
    p, at = after, at + room * width
  end
  st.raises, st.ends = sub(v, p, p + raises - 1), ends
  return latest
end

-- load reads the state under a key, and drops what has passed.
local function load(key)
  local st = { key = key, sections = {}, first = {}, raises = '', ends = 0, dirty = false }
  local v = call('GET', key)
  if not v then return st end
  local latest = string.byte(v) == 1 and rarely().readFirst(st, v) or read(st, v)
  if latest > tick or st.raises ~= '' then rarely().correct(st) end
  return st
end

local function section(st, id, share)
  local s = st.first[id]
  while s and s[SHARE] ~= share do s = s[OTHER] end
  return s or nil
end

local function openSection(st, id, share)
  return section(st, id, share) or addSection(st, id, 0, 0, 0, 0, share, '')
end

-- append puts n at the end of a log, at tick.
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
  s[LOG] = log
  if n >= WIDE and width == 9 then return rarely().widen(s, n) end
  s[LOG] = log .. pack(form, tick - s[BASE], n)
end

-- layOut gives the section and the log of s as they are to be written, with room
-- for half as many charges again.
local function layOut(s)
  local log, width, share = s[LOG], s[WIDTH], s[SHARE]
  local held, first, last, amount = #log / width, 0, 0, 0
  local room = held
  if s[UNIT] == DISTINCT then
    room = max(held, math.min(SAMPLES, floor(held * 1.5) + 1))
  elseif held > 0 then
    held = held - 1
    first = s[BASE] + unpack('>I5', log)
    last, amount = unpack(s[FORM], log, held * width + 1)
    last = last + s[BASE]
    room = held > 0 and max(held, math.min(EXACT, floor(held * 1.5) + 1)) or 0
  end
  return pack('>I4BI6I6I8I6I6I6BI2I2I2c0', s[ID], s[KIND], s[BASE], s[NEAR], s[SUM], first, last, amount, 0, held,
    room, #share, share), sub(log, 1, held * width) .. string.rep('\0', (room - held) * width)
end

-- save writes the state, to live a second longer than anything in it counts, or
-- an 80th, so that it need not be told so each time.
local function save(st)
  local sections, logs, ends = {}, {}, st.ends
  local live, plain = st.raises ~= '', st.raises == ''
  for i = 1, #st.sections do
    local s = st.sections[i]
    if s[ADD] > 0 then
      append(s, s[ADD])
      s[ADD] = 0
      ends = max(ends, tick + s[LEN])
    end
    sections[i], logs[i] = layOut(s)
    live = live or s[LOG] ~= '' or s[NEAR] ~= 0
    plain = plain and s[SHARE] == '' and s[WIDTH] == 9
  end
  if not live or ends <= now then return call('DEL', st.key) end
  local body = table.concat(sections) .. st.raises
  local kept = ends + 1000 + floor((ends - now) / 80)
  local head = pack('>BI6I6I2I6I4BI2I2', 2, tick, ends, 65535, kept, HEAD + #body, plain and math.min(255, #sections) or 0,
    #sections, #st.raises)
  call('SET', st.key, head .. body .. table.concat(logs), 'PX', kept - now)
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

  -- readFirst does as read, for a state of the first version.
  local function readFirst(st, v)
    local latest, ends, raises, p = unpack('>I6I6I2c0', v, 2)
    st.raises, st.ends = raises, ends
    while p <= #v do
      local id, kind, base, near, sum, share, log
      id, kind, base, near, sum, share, log, p = unpack('>I4BI6I6I8I2c0I2c0', v, p)
      addSection(st, id, kind, base, near, sum, share, log)
    end
    return latest
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

  -- isSampled tells whether a section keeps a charge at t; from is the level at
  -- which it has been kept.
  local function isSampled(s, t, hash, from)
    if s[KIND] <= from then return true end
    local draw = tonumber(sub(redis.sha1hex(hash .. floor(t / s[LEN])), 1, 8), 16)
    return draw * 2 ^ from % 4294967296 < 2 ^ (32 - s[KIND] + from)
  end

  -- leave drops a recipient, and tells whether it was there.
  local function leave(s, hash)
    local p = search(s, hash)
    if p then s[LOG] = sub(s[LOG], 1, p - 1) .. sub(s[LOG], p + 14) end
    return p ~= nil
  end

  -- raise keeps about half, each standing for twice as many.
  local function raise(s)
    local from = s[KIND]
    s[KIND] = from + 1
    local times, amounts = decode(s)
    local ts, ns = {}, {}
    for i = 1, #times do
      if isSampled(s, times[i], sub(amounts[i], 2), from) then ts[#ts + 1], ns[#ns + 1] = times[i], amounts[i] end
    end
    encode(s, ts, ns)
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

  -- see charges a recipient; a fresh one may be given back, from is the level at
  -- which it has been kept elsewhere.
  local function see(st, s, t, hash, fresh, from)
    st.ends = max(st.ends, t + s[LEN])
    while s[KIND] < min(from, 32) do raise(s) end
    local p = search(s, hash)
    if p then
      t, fresh = max(t, s[BASE] + unpack('>I5', s[LOG], p)), 0
      leave(s, hash)
    end
    if not isSampled(s, t, hash, from) then return end
    insertDistinct(s, t, pack('B', fresh) .. hash)
    while count(s) > SAMPLES and s[KIND] < 32 do raise(s) end
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
    readFirst = readFirst, decode = decode, widen = widen, joinCells = joinCells, correct = correct, insert = insert,
    giveBack = giveBack, search = search, leave = leave, see = see, forget = forget,
  }
  return rare
end
