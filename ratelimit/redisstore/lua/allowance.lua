-- SetRaise, in the state of the budget. KEYS: state. ARGV: unit, seconds, add,
-- end in milliseconds.

local st = load(KEYS[1])
local kept = ''
for r = 1, #st.raises, RAISE do
  local unit, seconds = unpack('>BI4', st.raises, r)
  if unit ~= tonumber(ARGV[1]) or seconds ~= tonumber(ARGV[2]) then
    kept = kept .. sub(st.raises, r, r + RAISE - 1)
  end
end
if tonumber(ARGV[3]) ~= 0 and tonumber(ARGV[4]) > now then
  kept = kept .. pack('>BI4i8I6', tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
  st.ends = max(st.ends, tonumber(ARGV[4]))
end
st.raises = kept
save(st)
return 'OK'
