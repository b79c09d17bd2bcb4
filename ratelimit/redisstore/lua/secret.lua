-- Secret: the one that all relays share, see secret.go; the first that is given
-- stays. KEYS: the secret. ARGV: ours, and one that is not of this form.

local secret = call('GET', KEYS[1])
if not secret or secret == ARGV[2] then
  secret = ARGV[1]
  call('SET', KEYS[1], secret)
end
return secret
