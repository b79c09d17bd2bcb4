-- A batch, for redis_take.lua and redis_undo.lua.
--
--   batch    budgets I2, each; requests I2, each
--   budget   share I2c0, flags B (1 shadow, 2 paid), windows B, each
--   window   id I4, number I8, reserves B, each: share I2c0, least I8
--   request  recipients I8, bytes I8, flags B (1 skipped, 2 distinct), hash c8, refs I2, each: budget I2
--
-- The keys are those of the budgets, in order, then the one for marks.
--
-- The mark of an attempt is its time (I6), then for each request "o" (charged)
-- or "x", and for each of its refs "0" (not charged), "1" or "2" (with the
-- message). An attempt that was undone has the mark "undone", so that it does
-- nothing if it arrives later.

local MESSAGES, RECIPIENTS, BYTES = 0, 1, 2

local function readWindow(blob, p, b)
  local id, most, n
  id, most, n, p = unpack('>I4I8B', blob, p)
  local w = {
    id = id, unit = id % 4, len = floor(id / 4) * 1000, max = most, used = 0, reserve = false,
    share = '', own = false, refused = 0, near = 0, waits = false, cost = 0,
  }
  if n > 0 then
    w.reserve, w.share = {}, b.share
    for i = 1, 2 * n, 2 do
      w.reserve[i], w.reserve[i + 1], p = unpack('>I2c0I8', blob, p)
    end
  end
  local s = b.state.first[id]
  while s do
    w.used = w.used + used(s)
    if s.share == w.share then w.own = s end
    s = s.other
  end
  local raises = b.state.raises
  for r = 1, #raises, 19 do
    local unit, seconds, add = unpack('>BI4i8', raises, r)
    if unit == w.unit and (seconds == 0 or seconds * 1000 == w.len) then w.max = w.max + add end
  end
  return w, p
end

local function readBatch(blob)
  local budgets, requests, n, p = {}, {}, unpack('>I2', blob)
  for i = 1, n do
    local share, flags, windows
    share, flags, windows, p = unpack('>I2c0BB', blob, p)
    local b = {
      share = share, shadow = flags % 2 == 1, paid = flags >= 2, windows = {}, state = load(KEYS[i]),
    }
    for j = 1, windows do b.windows[j], p = readWindow(blob, p, b) end
    budgets[i] = b
  end
  n, p = unpack('>I2', blob, p)
  for i = 1, n do
    local q, flags, refs = { refs = {}, ok = false, never = 0, wait = 0, budget = 0, window = 0 }
    q.recipients, q.bytes, flags, refs, p = unpack('>I8I8BI2', blob, p)
    q.skip, q.distinct = flags % 2 == 1, false
    if flags >= 2 then q.distinct, p = unpack('c8', blob, p) end
    for j = 1, refs do
      local at
      at, p = unpack('>I2', blob, p)
      q.refs[j] = { at = at, fits = true, mark = '0' }
    end
    requests[i] = q
  end
  return budgets, requests
end
