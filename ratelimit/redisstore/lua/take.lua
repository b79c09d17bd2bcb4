-- Take: decides the requests of a batch in order and charges those that fit.
-- KEYS: those of the batch. ARGV: batch, name of the attempt, "1" to peek; see
-- quick.lua for the others.
--
-- Answers 0 B, tick I6, then per budget paid B and per window max i8, used i8,
-- refused B, near B, free i8, then per request ok B, never B, wait I8, budget
-- I2, window I2 and per ref its mark, "0", "1" or "2".

local peek = ARGV[3] == '1'
local budgets, requests = readBatch(ARGV[1])

local seldom, special

-- judge leaves what the request costs in the windows that it touches.
local function judge(q)
  local ok, refs = true, q[REFS]
  for r = 1, #refs do
    local ref = refs[r]
    local b = budgets[ref[AT]]
    local windows = b.windows
    for j = 1, #windows do
      local w, n = windows[j], 0
      local unit = w[UNIT]
      if unit == MESSAGES then
        if q[RCPTS] > 0 and not b.paid then n = 1 end
      elseif unit == RECIPIENTS then
        n = q[RCPTS]
      elseif unit == BYTES then
        n = q[OCTETS]
      elseif q[HASH] and not special().isSeen(b, w, q) then
        n = 1
      end
      w[COST] = n
      if n > 0 and n > (w[RESERVE] and special().room(b, w) or w[MAX] - w[USED]) then
        w[REFUSED], ref[FITS] = 1, false
        if not b.shadow then
          ok = false
          special().refuse(q, ref[AT], j, w, n)
        end
      end
    end
  end
  q[PASSED] = ok
end

-- charge takes what the request costs, as judge left it.
local function charge(q)
  local refs = q[REFS]
  for r = 1, #refs do
    local ref = refs[r]
    local b = budgets[ref[AT]]
    local st, windows = b.state, b.windows
    for j = 1, ref[FITS] and #windows or 0 do
      local w = windows[j]
      local n, s = w[COST], w[OWN]
      if w[UNIT] == DISTINCT then
        if q[HASH] then special().see(b, w, q) end
      elseif n > 0 then
        if not s then
          s = openSection(st, w[ID], w[SHARE])
          w[OWN] = s
        end
        local sum = w[USED] + n
        s[SUM], s[ADD], w[USED], w[WAITS] = s[SUM] + n, s[ADD] + n, sum, false
        st.dirty = true
        if w[RESERVE] or sum * 5 >= w[MAX] * 4 then special().markNear(b, w) end
      end
    end
    if ref[FITS] then
      ref[MARK] = '1'
      if q[RCPTS] > 0 and not b.paid then
        b.paid, ref[MARK] = true, '2'
      end
    end
  end
end

-- arrange puts the sections of the windows first, in their order: so the next
-- decision may be a quick one. Others that are empty go.
local function arrange(b)
  local st, list, mine = b.state, {}, {}
  for j = 1, #b.windows do
    local w = b.windows[j]
    local s = w[OWN] or openSection(st, w[ID], w[SHARE])
    list[j], mine[s] = s, true
  end
  for i = 1, #st.sections do
    local s = st.sections[i]
    if not mine[s] and (s[LOG] ~= '' or s[NEAR] ~= 0) then list[#list + 1] = s end
  end
  st.sections = list
end

local function decide()
  local mark, n, any = { pack('>I6', tick) }, 1, false
  for i = 1, #requests do
    local q = requests[i]
    if not q[SKIP] then
      judge(q)
      if q[PASSED] and not peek then
        charge(q)
        any = true
      end
    end
    n = n + 1
    mark[n] = q[PASSED] and 'o' or 'x'
    for r = 1, #q[REFS] do
      n = n + 1
      mark[n] = q[REFS][r][MARK]
    end
  end
  -- The first write is one that Redis refuses when it has no memory left, so
  -- that then nothing at all is done.
  if any then setMark(KEYS[#budgets + 1], ARGV[2], table.concat(mark)) end
  for i = 1, #budgets do
    local b = budgets[i]
    if b.state.dirty then
      arrange(b)
      save(b.state)
    end
  end
  return tick
end

local function answer(at)
  local out, n = { '\0' .. pack('>I6', at) }, 1
  for i = 1, #budgets do
    local b = budgets[i]
    n = n + 1
    out[n] = b.paid and '\1' or '\0'
    for j = 1, #b.windows do
      local w = b.windows[j]
      local number, sum, later = w[MAX], w[USED], 0
      if w[RESERVE] or peek then number, sum, later = special().view(b, w) end
      n = n + 1
      out[n] = pack('>i8i8BBi8', number, sum, w[REFUSED], w[NEAR], later)
    end
  end
  for i = 1, #requests do
    local q = requests[i]
    n = n + 1
    out[n] = pack('>BBI8I2I2', q[PASSED] and 1 or 0, q[NEVER], q[WAIT], q[BUDGET], q[WINDOW])
    for r = 1, #q[REFS] do
      n = n + 1
      out[n] = q[REFS][r][MARK]
    end
  end
  return table.concat(out)
end

function special()
  if seldom then return seldom end
  local min = math.min

  -- divide works out what a share may still take of a window with reserves, what
  -- it can ever have, and what it is told as the number; see Reserve. usedBy
  -- tells what a share has used.
  local function divide(b, w, usedBy, sum)
    local most, reserve = w[MAX], w[RESERVE]
    local open, taken, rest, own, least, shared = most, 0, sum, 0, 0, true
    for i = 1, #reserve, 2 do
      local u, kept = usedBy(reserve[i]), reserve[i + 1]
      open, taken, rest = open - kept, taken + max(0, u - kept), rest - u
      if reserve[i] == b.share then own, least, shared = u, kept, false end
    end
    open, taken = max(0, open), taken + rest
    if shared then return min(open - taken, most - sum), open, open end
    return min(most - sum, max(0, least - own) + max(0, open - taken)), min(most, open + least), most
  end

  -- room answers as divide does, for every window.
  local function room(b, w)
    if not w[RESERVE] then return w[MAX] - w[USED], w[MAX], w[MAX] end
    return divide(b, w, function(share)
      local s = section(b.state, w[ID], share)
      return s and used(s) or 0
    end, w[USED])
  end

  -- isSeen tells whether a section holds a recipient under any of its hashes.
  local function isSeen(b, w, q)
    local search, s = rarely().search, b.state.first[w[ID]]
    while s do
      if s[SHARE] ~= keyed then
        if q[PLAIN] and search(s, q[PLAIN]) then return true end
      elseif search(s, q[HASH]) or q[FORMER] and search(s, q[FORMER]) then
        return true
      end
      s = s[OTHER]
    end
    return false
  end

  -- move takes a recipient out of where it stands under another hash, but not out
  -- of a sample of what an older relay has counted, and tells whether it did.
  local function move(b, w, q)
    local leave, moved, s = rarely().leave, false, b.state.first[w[ID]]
    while s do
      if s[SHARE] == keyed then
        moved = q[FORMER] and leave(s, q[FORMER]) or moved
      elseif s[KIND] == 0 then
        moved = q[PLAIN] and leave(s, q[PLAIN]) or moved
      end
      s = s[OTHER]
    end
    return moved
  end

  -- counted is what all sections of a window count.
  local function counted(b, w)
    local sum, s = 0, b.state.first[w[ID]]
    while s do
      sum, s = sum + used(s), s[OTHER]
    end
    return sum
  end

  -- charges lists what counts in a window, in the order of time.
  local function charges(b, w)
    local list, s = {}, b.state.first[w[ID]]
    while s do
      local times, amounts = rarely().decode(s)
      for i = 1, #times do
        list[#list + 1] = { times[i], w[UNIT] == DISTINCT and 2 ^ s[KIND] or amounts[i], s[SHARE] }
      end
      if s[ADD] > 0 then list[#list + 1] = { tick, s[ADD], s[SHARE] } end
      s = s[OTHER]
    end
    table.sort(list, function(x, y) return x[1] < y[1] end)
    return list
  end

  -- firstOut answers for the common case: the oldest charge makes room enough.
  local function firstOut(w, n)
    local s = w[OWN]
    if w[RESERVE] or w[UNIT] == DISTINCT or not s or s[LOG] == '' or s[SUM] ~= w[USED] then return end
    local t, amount = unpack(s[FORM], s[LOG])
    if w[USED] - amount + n <= w[MAX] then return s[BASE] + t + w[LEN] - now end
  end

  -- wait is the time until n fits, and 1 when it never will.
  local function wait(b, w, n)
    local _, most = room(b, w)
    if n > most then return w[LEN], 1 end
    local first = firstOut(w, n)
    if first then return first, 0 end
    local sum, byShare, s = w[USED], {}, b.state.first[w[ID]]
    while s do
      byShare[s[SHARE]], s = used(s), s[OTHER]
    end
    for _, c in ipairs(charges(b, w)) do
      sum = sum - c[2]
      byShare[c[3]] = byShare[c[3]] - c[2]
      local free = w[MAX] - sum
      if w[RESERVE] then
        free = divide(b, w, function(share) return byShare[share] or 0 end, sum)
      end
      if n <= free then return c[1] + w[LEN] - now, 0 end
    end
    return w[LEN], 0
  end

  -- refuse notes the longest of the waits; one that never ends comes first.
  local function refuse(q, at, j, w, n)
    w[WAITS] = w[WAITS] or {}
    local known = w[WAITS][n]
    if not known then
      known = { wait(budgets[at], w, n) }
      w[WAITS][n] = known
    end
    local d, never = known[1], known[2]
    if q[BUDGET] == 0 or never > q[NEVER] or never == q[NEVER] and d > q[WAIT] then
      q[WAIT], q[NEVER], q[BUDGET], q[WINDOW] = d, never, at, j
    end
  end

  -- markNear tells the first charge that brings a window to 80 %.
  local function markNear(b, w)
    if w[OWN][NEAR] ~= 0 then return end
    local free, _, number = room(b, w)
    if number > 0 and (number - free) * 5 >= number * 4 then
      w[OWN][NEAR], w[NEAR] = tick, 1
    end
  end

  -- see charges a distinct recipient.
  local function see(b, w, q)
    local s = w[OWN] or openSection(b.state, w[ID], w[SHARE])
    w[OWN], w[WAITS], b.state.dirty = s, false, true
    rarely().see(b.state, s, tick, q[HASH], move(b, w, q) and 0 or 1, 0)
    w[USED] = counted(b, w)
    if w[COST] > 0 then markNear(b, w) end
  end

  -- view is what the answer says of a window with reserves, or when peeking.
  local function view(b, w)
    local free, _, number = room(b, w)
    local later = 0
    if peek and free < 1 then
      local d, never = wait(b, w, 1)
      later = never == 1 and -1 or d
    end
    return number, number - free, later
  end

  -- recall answers an attempt that has come before: what still stands of it.
  local function recall(mark)
    local p = 7
    for _, q in ipairs(requests) do
      local was = sub(mark, p, p) == 'o'
      if not was and not q[SKIP] then
        judge(q)
        if q[PASSED] then q[WAIT], q[BUDGET], q[WINDOW] = 1, q[REFS][1][AT], 1 end
      end
      q[PASSED] = was
      p = p + 1
      for _, ref in ipairs(q[REFS]) do
        ref[MARK] = sub(mark, p, p)
        if ref[MARK] == '2' then budgets[ref[AT]].paid = true end
        p = p + 1
      end
    end
    return unpack('>I6', mark)
  end

  seldom = {
    room = room, isSeen = isSeen, refuse = refuse, markNear = markNear, see = see, view = view, recall = recall,
  }
  return seldom
end

local mark = not peek and call('HGET', KEYS[#budgets + 1], ARGV[2])
if mark == 'undone' then return redis.error_reply('UNDONE the attempt was given up') end
if mark then return answer(special().recall(mark)) end
return answer(decide())
