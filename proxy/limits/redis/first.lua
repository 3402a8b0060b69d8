-- Whether this comes for the first time: until then nobody remembers it, and from now on everybody does, for a while.
-- KEYS: what it is. ARGV: for how many milliseconds. No rights are needed but those that the other scripts have.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'again' end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'came', 1)
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]))
return 'first'
