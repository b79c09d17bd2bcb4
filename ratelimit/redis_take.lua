-- Take: decides the requests of a batch in order and charges those that fit.
-- KEYS: those of the batch. ARGV: batch, name of the attempt, "1" to peek.
--
-- Answers tick I6, then per budget paid B and per window max i8, used i8,
-- refused B, near B, free i8, then per request ok B, never B, wait I8, budget
-- I2, window I2 and per ref its mark, "0", "1" or "2".

local peek = ARGV[3] == '1'
local budgets, requests = readBatch(ARGV[1])

-- divide works out what a share may still take of a window with reserves; see
-- Reserve. used tells what a share has used.
local function divide(b, w, usedBy, sum)
  local open, taken, rest, own, least, shared = w.max, 0, sum, 0, 0, true
  for i = 1, #w.reserve, 2 do
    local u, kept = usedBy(w.reserve[i]), w.reserve[i + 1]
    open, taken, rest = open - kept, taken + max(0, u - kept), rest - u
    if w.reserve[i] == b.share then own, least, shared = u, kept, false end
  end
  open, taken = max(0, open), taken + rest
  if shared then return min(open - taken, w.max - sum), open, open end
  return min(w.max - sum, max(0, least - own) + max(0, open - taken)), min(w.max, open + least), w.max
end

local function usedBy(b, w)
  return function(share)
    local s = section(b.state, w.id, share)
    return s and used(s) or 0
  end
end

-- room is how much more the budget's share may take, most what it can ever
-- have, number what the caller is told as the number.
local function room(b, w)
  if not w.reserve then return w.max - w.used, w.max, w.max end
  return divide(b, w, usedBy(b, w), w.used)
end

local function isSeen(b, w, hash)
  local s = b.state.first[w.id]
  while s and not search(s, hash) do s = s.other end
  return s
end

local function cost(b, w, q)
  local unit = w.unit
  if unit == MESSAGES then return q.recipients > 0 and not b.paid and 1 or 0 end
  if unit == RECIPIENTS then return q.recipients end
  if unit == BYTES then return q.bytes end
  return q.distinct and not isSeen(b, w, q.distinct) and 1 or 0
end

-- charges lists what counts in a window, in the order of time.
local function charges(b, w)
  local list = {}
  local s = b.state.first[w.id]
  while s do
    local times, amounts = decode(s)
    for i = 1, #times do
      list[#list + 1] = { times[i], w.unit == DISTINCT and 2 ^ s.kind or amounts[i], s.share }
    end
    if s.add > 0 then list[#list + 1] = { tick, s.add, s.share } end
    s = s.other
  end
  table.sort(list, function(x, y) return x[1] < y[1] end)
  return list
end

-- firstOut answers for the common case: the oldest charge makes room enough.
local function firstOut(w, n)
  local s = w.own
  if w.reserve or w.unit == DISTINCT or not s or s.log == '' or s.sum ~= w.used then return end
  local t, amount = unpack(s.fmt, s.log)
  if w.used - amount + n <= w.max then return s.base + t + w.len - now end
end

-- wait is the time until n fits, and 1 when it never will.
local function wait(b, w, n)
  local _, most = room(b, w)
  if n > most then return w.len, 1 end
  local first = firstOut(w, n)
  if first then return first, 0 end
  local sum, byShare = w.used, {}
  local s = b.state.first[w.id]
  while s do
    byShare[s.share], s = used(s), s.other
  end
  for _, c in ipairs(charges(b, w)) do
    sum = sum - c[2]
    byShare[c[3]] = byShare[c[3]] - c[2]
    local free = w.max - sum
    if w.reserve then
      free = divide(b, w, function(share) return byShare[share] or 0 end, sum)
    end
    if n <= free then return c[1] + w.len - now, 0 end
  end
  return w.len, 0
end

-- refuse notes the longest of the waits; one that never ends comes first.
local function refuse(q, at, j, w, n)
  w.waits = w.waits or {}
  local known = w.waits[n]
  if not known then
    known = { wait(budgets[at], w, n) }
    w.waits[n] = known
  end
  local d, never = known[1], known[2]
  if q.budget == 0 or never > q.never or never == q.never and d > q.wait then
    q.wait, q.never, q.budget, q.window = d, never, at, j
  end
end

-- judge leaves what the request costs in the windows that it touches.
local function judge(q)
  q.ok = true
  for r = 1, #q.refs do
    local ref = q.refs[r]
    local b = budgets[ref.at]
    for j = 1, #b.windows do
      local w = b.windows[j]
      local n = cost(b, w, q)
      w.cost = n
      if n > 0 and n > (w.reserve and room(b, w) or w.max - w.used) then
        w.refused, ref.fits = 1, false
        if not b.shadow then
          q.ok = false
          refuse(q, ref.at, j, w, n)
        end
      end
    end
  end
end

-- markNear tells the first charge that brings a window to 80 %.
local function markNear(b, w)
  if w.own.near ~= 0 then return end
  local free, _, number = room(b, w)
  if number > 0 and (number - free) * 5 >= number * 4 then
    w.own.near, w.near = tick, 1
  end
end

local function chargeWindow(b, w, q)
  local n, s = w.cost, w.own
  if n == 0 and not (w.unit == DISTINCT and q.distinct) then return end
  if not s then
    s = openSection(b.state, w.id, w.share)
    w.own = s
  end
  b.state.dirty, w.waits = true, false
  if w.unit == DISTINCT then
    local before = used(s)
    see(s, tick, q.distinct, 1)
    w.used = w.used + used(s) - before
  else
    s.sum, s.add, w.used = s.sum + n, s.add + n, w.used + n
  end
  if n > 0 and (w.reserve or w.used * 5 >= w.max * 4) then markNear(b, w) end
end

local function charge(q)
  for r = 1, #q.refs do
    local ref = q.refs[r]
    if ref.fits then
      local b = budgets[ref.at]
      for j = 1, #b.windows do chargeWindow(b, b.windows[j], q) end
      ref.mark = '1'
      if q.recipients > 0 and not b.paid then
        b.paid, ref.mark = true, '2'
      end
    end
  end
end

-- recall answers an attempt that has come before: what still stands of it.
local function recall(mark)
  local p = 7
  for _, q in ipairs(requests) do
    local was = sub(mark, p, p) == 'o'
    if not was and not q.skip then
      judge(q)
      if q.ok then q.wait, q.budget, q.window = 1, q.refs[1].at, 1 end
    end
    q.ok = was
    p = p + 1
    for _, ref in ipairs(q.refs) do
      ref.mark = sub(mark, p, p)
      if ref.mark == '2' then budgets[ref.at].paid = true end
      p = p + 1
    end
  end
  return unpack('>I6', mark)
end

local function decide()
  local mark, any = { pack('>I6', tick) }, false
  for i = 1, #requests do
    local q = requests[i]
    if not q.skip then
      judge(q)
      if q.ok and not peek then
        charge(q)
        any = true
      end
    end
    mark[#mark + 1] = q.ok and 'o' or 'x'
    for r = 1, #q.refs do mark[#mark + 1] = q.refs[r].mark end
  end
  -- The first write is one that Redis refuses when it has no memory left, so
  -- that then nothing at all is done.
  if any then setMark(KEYS[#budgets + 1], ARGV[2], table.concat(mark)) end
  for i = 1, #budgets do
    local st = budgets[i].state
    if st.dirty then save(st) end
  end
  return tick
end

local function answerWindow(b, w)
  local free, number = w.max - w.used, w.max
  if w.reserve then
    local _
    free, _, number = room(b, w)
  end
  local later = 0
  if peek and free < 1 then
    local d, never = wait(b, w, 1)
    later = never == 1 and -1 or d
  end
  return pack('>i8i8BBi8', number, number - free, w.refused, w.near, later)
end

local function answer(at)
  local out = { pack('>I6', at) }
  for i = 1, #budgets do
    local b = budgets[i]
    out[#out + 1] = b.paid and '\1' or '\0'
    for j = 1, #b.windows do out[#out + 1] = answerWindow(b, b.windows[j]) end
  end
  for i = 1, #requests do
    local q = requests[i]
    out[#out + 1] = pack('>BBI8I2I2', q.ok and 1 or 0, q.never, q.wait, q.budget, q.window)
    for r = 1, #q.refs do out[#out + 1] = q.refs[r].mark end
  end
  return table.concat(out)
end

local mark = not peek and call('HGET', KEYS[#budgets + 1], ARGV[2])
if mark == 'undone' then return redis.error_reply('UNDONE the attempt was given up') end
if mark then return answer(recall(mark)) end
return answer(decide())
