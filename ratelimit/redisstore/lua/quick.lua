-- The decision where nothing is out of the ordinary: every request fits, no
-- window comes near its number, and all sections are plain (state.lua).
-- It needs no log, but for charges that have passed, and gives up before it has
-- written anything where it finds anything else: then the rest of the script
-- decides.
--
-- ARGV: batch, name of the attempt, -, its mark but for the time if all is
-- charged, and where the longest head with its sections ends.
--
-- Answers 1 B, tick I6, then per window used i8.

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
  local windows, messages, recipients, bytes, _
  _, windows, messages, recipients, bytes, _, p = unpack('>BBBI8I8I2c0', batch, p)
  local old, new = call('GETRANGE', key, '0', ARGV[5]), { '' }
  local version, latest, ends, kept, ring, plain, sections = 2, 0, 0, 0, HEAD + 50 * windows, windows, windows
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

if ARGV[4] ~= '' then
  local done = quick(ARGV[1])
  if done then return done end
end
