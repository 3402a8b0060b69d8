-- Go on with leases. KEYS: the sorted set of each. ARGV: the length of a lease, then each one's id.
-- One that has ended meanwhile begins again and holds a place, but has been settled.
local now, lease_us = now_of(), tonumber(ARGV[1])
for place, leases in ipairs(KEYS) do
  redis.call('ZADD', leases, whole(now + lease_us), ARGV[place + 1])
  redis.call('PEXPIREAT', leases, whole(math.ceil((now + lease_us + MARGIN) / 1000)))
end
return 'renewed ' .. whole(now)
