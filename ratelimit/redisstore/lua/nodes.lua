-- Nodes: notes that a node is there, and counts those of the last minute. KEYS:
-- the list of nodes. ARGV: the node.

call('ZADD', KEYS[1], now, ARGV[1])
call('PEXPIRE', KEYS[1], 120000)
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
return call('ZCARD', KEYS[1])
