-- Refund: gives charges back. KEYS: states, then the key for marks. ARGV:
-- returns, name of the attempt.
--
--   return   state I2, share I2c0, windows B, each: id I4, divided B;
--            at I6, messages I8, recipients I8, bytes I8, distinct B, hash c8

if call('HGET', KEYS[#KEYS], ARGV[2]) then return 'OK' end
setMark(KEYS[#KEYS], ARGV[2], '')

local giveBack, forget = rarely().giveBack, rarely().forget
local states, blob = {}, ARGV[1]
local n, p = unpack('>I2', blob)
for _ = 1, n do
  local i, share, windows, ids = 0, '', 0, {}
  i, share, windows, p = unpack('>I2I2c0B', blob, p)
  for j = 1, 2 * windows, 2 do ids[j], ids[j + 1], p = unpack('>I4B', blob, p) end
  local at, messages, recipients, bytes, distinct, hash
  at, messages, recipients, bytes, distinct, hash, p = unpack('>I6I8I8I8Bc8', blob, p)
  local st = states[i] or load(KEYS[i])
  states[i] = st
  local amounts = { [0] = messages, recipients, bytes }
  for j = 1, #ids, 2 do
    local s = section(st, ids[j], ids[j] % 4 == DISTINCT and keyed or ids[j + 1] == 1 and share or '')
    if s and s[UNIT] ~= DISTINCT then
      giveBack(s, at, amounts[s[UNIT]])
    elseif s and distinct == 1 then
      forget(s, at, hash)
    end
  end
end
for _, st in pairs(states) do save(st) end
return 'OK'
