-- The decision where nothing is out of the ordinary: every request fits, no
-- window comes near its number, and all sections are plain (state.lua), or those
-- of reserved room or distinct recipients. It needs no log, but for charges that
-- have passed and for distinct recipients, and gives up before it has written
-- anything where it finds anything else: then the rest of the script decides.
--
-- ARGV: batch, name of the attempt, -, its mark but for the time if all is
-- charged, where the longest head with its sections ends, and the hash of the one
-- recipient where distinct ones are counted.
--
-- Answers 1 B, tick I6, then per window used i8.

local divided, dividing
local reply, writes, expiries = { '\1' .. pack('>I6', tick) }, {}, {}

-- leave takes the charges that have passed out of a ring, and returns its sum,
-- start, number of entries and first time then; nothing where they are many.
local function leave(key, ring, over, base, sum, start, held, room, last)
  local some, p = math.min(held, room - start, 8), 1
  local log = call('GETRANGE', key, ring + start * 9, ring + (start + some) * 9 - 1)
  for i = 0, some - 1 do
    local t, amount
    t, amount, p = unpack('>I5I4', log, p)
    if base + t > over then return sum, start + i, held - i, base + t end
    sum = sum - amount
  end
  if some == held then return sum, 0, 0, last end
end

-- quickBudget decides one budget, which begins at p in the batch. It returns
-- where that ends, or nothing to give up.
local function quickBudget(key, batch, p)
  local flags, windows, messages, recipients, bytes, share
  flags, windows, messages, recipients, bytes, share, p = unpack('>BBBI8I8I2c0', batch, p)
  if flags >= 4 then return dividing()(key, batch, p, windows, messages, recipients, bytes, share) end
  local old, new = call('GETRANGE', key, '0', ARGV[5]), { '' }
  local version, latest, ends, kept, ring, plain, sections, _ = 2, 0, 0, 0, HEAD + 50 * windows, windows, windows
  if old ~= '' then version, latest, ends, _, kept, ring, plain, sections = unpack('>BI6I6I2I6I4BI2', old) end
  if version ~= 2 or latest > tick or plain < windows then return end
  local from, logs, longest = HEAD + 1, ring, 0
  for j = 1, windows do
    local want, most
    want, most, _, p = unpack('>I4I8B', batch, p)
    local unit = want % 4
    local len = (want - unit) * 250
    local n = unit == 0 and messages or unit == 1 and recipients or bytes
    local id, kind, base, near, sum, first, last, amount, start, held, room = want, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    if old ~= '' then
      id, kind, base, near, sum, first, last, amount, start, held, room, _, from =
        unpack('>I4BI6I6I8I6I6I6BI2I2I2', old, from)
    end
    if id ~= want then return end
    -- What has passed goes.
    if near ~= 0 and now - near >= len then near = 0 end
    if now - last >= len then
      kind, sum, last, start, held = 0, 0, 0, 0, 0
    elseif now - first >= len then
      sum, start, held, first = leave(key, logs, now - len, base, sum, start, held, room, last)
      if not sum then return end
    end
    -- What it costs is charged, as append does in state.lua.
    if n > 0 then
      sum, longest = sum + n, max(longest, len)
      if sum > most or near == 0 and sum * 5 >= most * 4 then return end
      if last == 0 then
        base, first, last, amount = tick, tick, tick, n
      elseif last == tick then
        amount = amount + n
      elseif held < EXACT - 1 then
        if held == room then return end
        local k = #writes
        writes[k + 1], writes[k + 2] = key, logs + (start + held) % room * 9
        writes[k + 3] = pack('>I5I4', last - base, amount)
        held, last, amount = held + 1, tick, n
      elseif floor(last * CELLS / len) == floor(tick * CELLS / len) then
        kind, last, amount = 1, tick, amount + n
      else
        return
      end
      if amount >= WIDE then return end
    end
    new[j + 1] = pack('>I4BI6I6I8I6I6I6BI2I2I2', id, kind, base, near, sum, first, last, amount, start, held, room, 0)
    reply[#reply + 1] = pack('>I8', sum)
    logs = logs + room * 9
  end
  if longest > 0 then
    ends = max(ends, tick + longest)
    if ends + 1000 > kept then
      kept = ends + 1000 + floor((ends - now) / 80)
      expiries[#expiries + 1] = { key, kept - now }
    end
    new[1] = pack('>BI6I6I2I6I4BI2I2', 2, tick, ends, 65535, kept, ring, plain, sections, 0)
    local k = #writes
    writes[k + 1], writes[k + 2], writes[k + 3] = key, '0', table.concat(new)
  end
  return p
end

local function quick(batch)
  local count, p = unpack('>I2', batch)
  for i = 1, count do
    p = quickBudget(KEYS[i], batch, p)
    if not p then return end
  end
  -- The first write is one that Redis refuses when it has no memory left, so
  -- that then nothing at all is done.
  if setMark(KEYS[count + 1], ARGV[2], pack('>I6', tick) .. ARGV[4], 'HSETNX') == 0 then return end
  for k = 1, #writes, 3 do call('SETRANGE', writes[k], writes[k + 1], writes[k + 2]) end
  for k = 1, #expiries do call('PEXPIRE', expiries[k][1], expiries[k][2]) end
  return table.concat(reply)
end

-- dividing makes what decides budgets with reserved room or distinct recipients.
function dividing()
  if divided then return divided end
  local section = '>I4BI6I6I8I6I6I6BI2I2I2c0'

  -- of a section, as state.lua has them; AT is where its log begins
  local ID, KIND, BASE, NEAR, SUM, FIRST, LAST, AMOUNT, START, HELD, ROOM, SHARE, AT =
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13

  local function write(key, at, text)
    local k = #writes
    writes[k + 1], writes[k + 2], writes[k + 3] = key, at, text
  end

  -- leave takes the charges that have passed out of a section; false where they
  -- are many.
  local function leave(key, s, len)
    if now - s[LAST] >= len then
      s[KIND], s[SUM], s[LAST], s[START], s[HELD] = 0, 0, 0, 0, 0
      return true
    end
    local over, start, held = now - len - s[BASE], s[START], s[HELD]
    local some, p = math.min(held, s[ROOM] - start, 8), 1
    local log = call('GETRANGE', key, s[AT] + start * 9, s[AT] + (start + some) * 9 - 1)
    for i = 0, some - 1 do
      local t, amount
      t, amount, p = unpack('>I5I4', log, p)
      if t > over then
        s[START], s[HELD], s[FIRST] = start + i, held - i, s[BASE] + t
        return true
      end
      s[SUM] = s[SUM] - amount
    end
    if some < held then return false end
    s[START], s[HELD], s[FIRST] = 0, 0, s[LAST]
    return true
  end

  -- charge puts n at the end of a section, as append does in state.lua; false where
  -- that asks for more.
  local function charge(key, s, len, n)
    local last, held = s[LAST], s[HELD]
    if last == 0 then
      s[BASE], s[FIRST], s[LAST], s[AMOUNT] = tick, tick, tick, n
    elseif last == tick then
      s[AMOUNT] = s[AMOUNT] + n
    elseif held < EXACT - 1 then
      if held == s[ROOM] then return false end
      write(key, s[AT] + (s[START] + held) % s[ROOM] * 9, pack('>I5I4', last - s[BASE], s[AMOUNT]))
      s[HELD], s[LAST], s[AMOUNT] = held + 1, tick, n
    elseif floor(last * CELLS / len) == floor(tick * CELLS / len) then
      s[KIND], s[LAST], s[AMOUNT] = 1, tick, s[AMOUNT] + n
    else
      return false
    end
    s[SUM] = s[SUM] + n
    return s[AMOUNT] < WIDE
  end

  -- see charges the recipient, if any, to a section of distinct ones, and returns how
  -- many it then has; nothing to give up. most is the number.
  local function see(key, s, len, most, hash)
    local held = s[HELD]
    if s[KIND] > 0 or s[START] > 0 then return end
    local log, first = held > 0 and call('GETRANGE', key, s[AT], s[AT] + held * 14 - 1) or '', 1
    while first <= #log and s[BASE] + unpack('>I5', log, first) <= now - len do first = first + 14 end
    if first > 1 then log = sub(log, first) end
    held = #log / 14
    if hash == '' then return held end
    local p = string.find(log, hash, 1, true)
    while p and p % 14 ~= 7 do p = string.find(log, hash, p + 1, true) end
    if log == '' then s[BASE] = tick end
    local entry = pack('>I5B', tick - s[BASE], p and 0 or 1) .. hash
    if p then
      write(key, s[AT], sub(log, 1, p - 7) .. sub(log, p + 8) .. entry)
    else
      held = held + 1
      if held > most or held > s[ROOM] or s[NEAR] == 0 and held * 5 >= most * 4 then return end
      if first > 1 then
        write(key, s[AT], log .. entry)
      else
        write(key, s[AT] + (held - 1) * 14, entry)
      end
    end
    s[HELD] = held
    return held
  end

  -- readSections lists the sections of a state, which begin at p.
  local function readSections(old, count, at)
    local list, p = {}, HEAD + 1
    for i = 1, count do
      local id, kind, base, near, sum, first, last, amount, start, held, room, share
      id, kind, base, near, sum, first, last, amount, start, held, room, share, p = unpack(section, old, p)
      list[i] = { id, kind, base, near, sum, first, last, amount, start, held, room, share, at }
      at = at + room * (id % 4 == 3 and 14 or kind > 1 and 11 or 9)
    end
    return list
  end

  -- divide answers as divide in take.lua: what a share may still take of a window,
  -- and what it is told as the number.
  local function divide(most, share, reserve, used, sum)
    local open, taken, rest, own, least, shared = most, 0, sum, 0, 0, true
    for i = 1, #reserve, 2 do
      local u, kept = used[reserve[i]] or 0, reserve[i + 1]
      open, taken, rest = open - kept, taken + max(0, u - kept), rest - u
      if reserve[i] == share then own, least, shared = u, kept, false end
    end
    open, taken = max(0, open), taken + rest
    if shared then return math.min(open - taken, most - sum), open end
    return math.min(most - sum, max(0, least - own) + max(0, open - taken)), most
  end

  -- dividedBudget does as quickBudget, for any budget.
  local function dividedBudget(key, batch, p, windows, messages, recipients, bytes, share)
    local old, list = call('GETRANGE', key, '0', ARGV[5]), {}
    local version, latest, ends, kept, ring, plain, count, raises, _ = 2, 0, 0, 0, 0, windows, 0, 0
    if old ~= '' then
      version, latest, ends, _, kept, ring, plain, count, raises = unpack('>BI6I6I2I6I4BI2I2', old)
      if version ~= 2 or latest > tick or raises > 0 or ring > #old then return end
      list = readSections(old, count, ring)
    end
    local longest = 0
    for j = 1, windows do
      local id, most, reserves, reserve
      id, most, reserves, p = unpack('>I4I8B', batch, p)
      local unit = id % 4
      local len, mine = (id - unit) * 250, unit == 3 and '\1' or ''
      if reserves > 0 then
        if unit == 3 then return end
        reserve, mine = {}, share
        for i = 1, 2 * reserves, 2 do reserve[i], reserve[i + 1], p = unpack('>I2c0I8', batch, p) end
      end
      local sum, used, own = 0, reserve and {}, nil
      if old == '' then
        if unit == 3 then return end
        own = { id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mine, 0 }
        count, plain = j, reserve and 0 or plain
        list[j] = own
      end
      for i = 1, old ~= '' and count or 0 do
        local s = list[i]
        if s[ID] == id then
          if s[NEAR] ~= 0 and now - s[NEAR] >= len then s[NEAR] = 0 end
          if s[SHARE] == mine then own = s end
          if unit == 3 then
            if s ~= own then return end
          else
            if s[KIND] > 1 or now - s[FIRST] >= len and not leave(key, s, len) then return end
            sum = sum + s[SUM]
            if used then used[s[SHARE]] = s[SUM] end
          end
        end
      end
      if not own then return end
      local told
      if unit == 3 then
        told = see(key, own, len, most, ARGV[6])
        if not told then return end
        if ARGV[6] ~= '' then longest = max(longest, len) end
      else
        local n = unit == 0 and messages or unit == 1 and recipients or bytes
        if n > 0 then
          if n > (reserve and divide(most, share, reserve, used, sum) or most - sum) then return end
          if not charge(key, own, len, n) then return end
          sum, longest = sum + n, max(longest, len)
          if used then used[mine] = own[SUM] end
        end
        local free, number = most - sum, most
        if reserve then free, number = divide(most, share, reserve, used, sum) end
        told = number - free
        if n > 0 and own[NEAR] == 0 and number > 0 and told * 5 >= number * 4 then return end
      end
      reply[#reply + 1] = pack('>i8', told)
    end
    if longest > 0 then
      local new = { '' }
      for i = 1, count do
        local s = list[i]
        new[i + 1] = pack(section, s[ID], s[KIND], s[BASE], s[NEAR], s[SUM], s[FIRST], s[LAST], s[AMOUNT], s[START],
          s[HELD], s[ROOM], #s[SHARE], s[SHARE])
        if old == '' then ring = ring + #new[i + 1] end
      end
      if old == '' then ring = ring + HEAD end
      ends = max(ends, tick + longest)
      if ends + 1000 > kept then
        kept = ends + 1000 + floor((ends - now) / 80)
        expiries[#expiries + 1] = { key, kept - now }
      end
      new[1] = pack('>BI6I6I2I6I4BI2I2', 2, tick, ends, 65535, kept, ring, plain, count, 0)
      write(key, '0', table.concat(new))
    end
    return p
  end

  divided = dividedBudget
  return divided
end

if ARGV[4] ~= '' then
  local done = quick(ARGV[1])
  if done then return done end
end
