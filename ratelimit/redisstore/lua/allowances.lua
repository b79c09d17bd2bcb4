-- The list of all raises. KEYS: the list. ARGV: nothing to read it, or a field,
-- the raise's end in milliseconds (0: remove it) and its description. With the reason
-- that the one in its place must have ('': there is none), and its own, it is written
-- only then or where it is there already; the answer is 1, else 0.

if ARGV[4] then
  local there, reason = call('HGET', KEYS[1], ARGV[1]), ''
  if there and unpack('>I6', there) > now then reason = cjson.decode(sub(there, 7)).reason end
  if reason ~= ARGV[4] and reason ~= ARGV[5] then return 0 end
end
if ARGV[1] and tonumber(ARGV[2]) > now then
  local live = max(tonumber(ARGV[2]) - now, call('PTTL', KEYS[1]))
  call('HSET', KEYS[1], ARGV[1], pack('>I6', tonumber(ARGV[2])) .. ARGV[3])
  call('PEXPIRE', KEYS[1], live)
elseif ARGV[1] then
  call('HDEL', KEYS[1], ARGV[1])
end
if ARGV[4] then return 1 end
local all, live = call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if unpack('>I6', all[i + 1]) > now then
    live[#live + 1] = sub(all[i + 1], 7)
  else
    call('HDEL', KEYS[1], all[i])
  end
end
return live
