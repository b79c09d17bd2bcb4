-- What every script begins with: the time, and marks of attempts.

local call, pack, unpack = redis.call, struct.pack, struct.unpack
local sub, floor, max = string.sub, math.floor, math.max

local clock = call('TIME')
local us = clock[1] * 1000000 + clock[2]
-- now is the millisecond that has come, tick the one a charge is put to: apart,
-- they keep every charge for its full window.
local now = floor(us / 1000)
local tick = us % 1000 > 0 and now + 1 or now

local EXACT, CELLS = 80, 80
local WIDE, HEAD = 4294967296, 30

-- setMark notes the outcome of an attempt, unless command is HSETNX and there is
-- one.
local function setMark(key, field, value, command)
  local new = call(command or 'HSET', key, field, value)
  call('PEXPIRE', key, '90000')
  return new
end
