-- A batch, for take.lua and undo.lua.
--
--   batch    budgets I2, each; requests I2, each
--   budget   flags B (1 shadow, 2 paid, 4 reserves or distinct ones), windows B, what it is charged if every
--            request is: messages B, recipients I8, bytes I8; share I2c0, windows, each
--   window   id I4, number I8, reserves B, each: share I2c0, least I8
--   request  recipients I8, bytes I8, flags B (1 skipped, 2 distinct), refs I2, if distinct: hash c8, that
--            under the secret before c8, that without one c8 (zeros: none); each: budget I2
--
-- The keys are those of the budgets, in order, then the one for marks.
--
-- The mark of an attempt is its time (I6), then for each request "o" (charged)
-- or "x", and for each of its refs "0" (not charged), "1" or "2" (with the
-- message). An attempt that was undone has the mark "undone", so that it does
-- nothing if it arrives later.

local MESSAGES, RECIPIENTS, BYTES = 0, 1, 2

-- of windows; OWN is the section that this batch charges
local MAX, USED, REFUSED, COST, OWN, RESERVE, WAITS = 6, 7, 8, 9, 10, 11, 12
-- of requests
local RCPTS, OCTETS, SKIP, HASH, REFS, PASSED, NEVER, WAIT, BUDGET, WINDOW = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local FORMER, PLAIN = 11, 12
-- of refs
local AT, FITS, MARK = 1, 2, 3

local none = string.rep('\0', 8)

local function raised(raises, unit, len)
  local sum = 0
  for r = 1, #raises, RAISE do
    local u, seconds, add = unpack('>BI4i8', raises, r)
    if u == unit and (seconds == 0 or seconds * 1000 == len) then sum = sum + add end
  end
  return sum
end

local function readBudget(blob, p, st)
  local share, flags, windows, list, _
  flags, windows, _, _, _, share, p = unpack('>BBBI8I8I2c0', blob, p)
  list = {}
  for j = 1, windows do
    local id, most, reserves, own, sum
    id, most, reserves, p = unpack('>I4I8B', blob, p)
    local w = { id, id % 4, 0, '', 0, most, 0, 0, 0, false, false, false }
    w[LEN] = (id - w[UNIT]) * 250
    if w[UNIT] == DISTINCT then w[SHARE] = keyed end
    if reserves > 0 then
      local reserve = {}
      for i = 1, 2 * reserves, 2 do
        reserve[i], reserve[i + 1], p = unpack('>I2c0I8', blob, p)
      end
      w[RESERVE], w[SHARE] = reserve, share
    end
    local s = st.first[id]
    while s do
      w[USED] = w[USED] + used(s)
      if s[SHARE] == w[SHARE] then w[OWN] = s end
      s = s[OTHER]
    end
    if st.raises ~= '' then w[MAX] = most + raised(st.raises, w[UNIT], w[LEN]) end
    list[j] = w
  end
  return { share = share, shadow = flags % 2 == 1, paid = flags % 4 >= 2, windows = list, state = st }, p
end

local function readBatch(blob)
  local budgets, requests, n, p = {}, {}, unpack('>I2', blob)
  for i = 1, n do budgets[i], p = readBudget(blob, p, load(KEYS[i])) end
  n, p = unpack('>I2', blob, p)
  for i = 1, n do
    local recipients, bytes, flags, count, hash, former, plain
    recipients, bytes, flags, count, p = unpack('>I8I8BI2', blob, p)
    if flags >= 2 then hash, former, plain, p = unpack('c8c8c8', blob, p) end
    local refs = {}
    for j = 1, count do
      local at
      at, p = unpack('>I2', blob, p)
      refs[j] = { at, true, '0' }
    end
    requests[i] = { recipients, bytes, flags % 2 == 1, hash or false, refs, false, 0, 0, 0, 0,
      former ~= none and former or false, plain ~= none and plain or false }
  end
  return budgets, requests
end
