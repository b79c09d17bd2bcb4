-- Adopt: joins what an older relay kept under another spelling of a sender or
-- user: of each window the larger count holds. KEYS: state. ARGV: the value of
-- the other state.

local st, other = load(KEYS[1]), { sections = {}, first = {}, raises = '', ends = 0, dirty = false }
if string.byte(ARGV[1]) == 1 then rarely().readFirst(other, ARGV[1]) else read(other, ARGV[1]) end
rarely().correct(other)
for _, o in ipairs(other.sections) do
  local s = openSection(st, o[ID], o[SHARE])
  if used(o) > used(s) then
    for _, field in ipairs({ KIND, BASE, SUM, LOG, WIDTH, FORM }) do s[field] = o[field] end
    s[NEAR] = max(s[NEAR], o[NEAR])
  end
end
if st.raises == '' then st.raises = other.raises end
st.ends = max(st.ends, other.ends)
save(st)
return 'OK'
