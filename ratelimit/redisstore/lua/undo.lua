-- Undo: takes back what an attempt charged, all or a part.
-- KEYS: those of the batch. ARGV: batch, new mark without its time ("" for all
-- rounds), then the names of the attempt's rounds.

local budgets, requests = readBatch(ARGV[1])
local marks, stands = KEYS[#budgets + 1], ARGV[2]
local giveBack, forget = rarely().giveBack, rarely().forget

local function takeBack(b, at, q, message)
  b.state.dirty = true
  for _, w in ipairs(b.windows) do
    local s = w[OWN]
    if s then
      if w[UNIT] == MESSAGES then
        giveBack(s, at, message)
      elseif w[UNIT] == RECIPIENTS then
        giveBack(s, at, q[RCPTS])
      elseif w[UNIT] == BYTES then
        giveBack(s, at, q[OCTETS])
      elseif q[HASH] then
        forget(s, at, q[HASH])
      end
      if s[NEAR] == at and used(s) * 5 < w[MAX] * 4 then s[NEAR] = 0 end
    end
  end
end

-- moved reports whether the message stays charged: another of the refs has it.
local function moved(at)
  local p = 1
  for _, q in ipairs(requests) do
    p = p + 1
    for _, ref in ipairs(q[REFS]) do
      if ref[AT] == at and sub(stands, p, p) == '2' then return true end
      p = p + 1
    end
  end
  return false
end

local function undo(mark)
  local p, at = 7, unpack('>I6', mark)
  for _, q in ipairs(requests) do
    p = p + 1
    for _, ref in ipairs(q[REFS]) do
      local was, is = sub(mark, p, p), sub(stands, p - 6, p - 6)
      if was ~= '0' and (is == '0' or is == '') then
        takeBack(budgets[ref[AT]], at, q, was == '2' and not moved(ref[AT]) and 1 or 0)
      end
      p = p + 1
    end
  end
end

for i = 3, #ARGV do
  local mark = call('HGET', marks, ARGV[i])
  if mark and mark ~= 'undone' then
    undo(mark)
    setMark(marks, ARGV[i], stands == '' and 'undone' or sub(mark, 1, 6) .. stands)
  elseif stands == '' and not mark then
    setMark(marks, ARGV[i], 'undone')
  end
end
for _, b in ipairs(budgets) do
  if b.state.dirty then save(b.state) end
end
return 'OK'
