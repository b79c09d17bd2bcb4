-- Record: adds charges that were made elsewhere. KEYS: states, then the key for
-- marks. ARGV: records, name of the attempt.
--
--   record   state I2, id I4, share I2c0, age I6, amount I8, distinct B, hash c8, level B

if call('HGET', KEYS[#KEYS], ARGV[2]) then return 'OK' end
setMark(KEYS[#KEYS], ARGV[2], '')

local states, blob = {}, ARGV[1]
local n, p = unpack('>I2', blob)
for _ = 1, n do
  local i, id, share, age, amount, distinct, hash, level
  i, id, share, age, amount, distinct, hash, level, p = unpack('>I2I4I2c0I6I8Bc8B', blob, p)
  local st = states[i] or load(KEYS[i])
  states[i] = st
  local s = openSection(st, id, share)
  if age >= s[LEN] then -- has passed
  elseif s[UNIT] == DISTINCT then
    if distinct == 1 then rarely().see(st, s, tick - age, hash, 0, level) end
  else
    rarely().insert(st, s, tick - age, amount)
  end
end
for _, st in pairs(states) do save(st) end
return 'OK'
