-- Whether a script can do here what scripts do, what time it is, and how many gates count with us.
-- KEYS: the gates, and a hash that holds nothing for long. ARGV: who asks, and microseconds for which that is believed.
local now, lasts = now_of(), tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], whole(now + lasts), ARGV[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now))) do redis.call('ZREM', KEYS[1], gone) end
redis.call('PEXPIREAT', KEYS[1], whole(math.ceil((now + lasts) / 1000)))
redis.call('HSET', KEYS[2], ARGV[1], whole(now))
redis.call('HMGET', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 'beats ' .. whole(now) .. ' ' .. redis.call('ZCARD', KEYS[1])
