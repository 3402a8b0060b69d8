-- Go on with leases. KEYS: a hash and a sorted set for each. ARGV: the length of a lease, then each one's id.
-- One that has ended meanwhile begins again and holds a place, but has been settled. What it was charged lives as long.
local now, lease_us = now_of(), tonumber(ARGV[1])
local until_then = whole(math.ceil((now + lease_us + MARGIN) / 1000))
for place = 1, #KEYS / 2 do
  local key, leases = KEYS[2 * place - 1], KEYS[2 * place]
  redis.call('ZADD', leases, whole(now + lease_us), ARGV[place + 1])
  redis.call('PEXPIREAT', leases, until_then)
  if redis.call('PTTL', key) < (lease_us + MARGIN) / 1000 then redis.call('PEXPIREAT', key, until_then) end
end
return 'renewed ' .. whole(now)
