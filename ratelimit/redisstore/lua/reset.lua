-- Reset: forgets the counts of a budget. KEYS: state.

local st = load(KEYS[1])
st.sections = {}
save(st)
return 'OK'
