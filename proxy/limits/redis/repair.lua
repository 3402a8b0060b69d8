-- Throw away what is no account: somebody else has written there. KEYS: a hash and a sorted set for each account.
local thrown = 0
for place, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= (place % 2 == 1 and 'hash' or 'zset') then
    thrown = thrown + redis.call('UNLINK', key)
  end
end
return 'repaired ' .. whole(now_of()) .. ' ' .. thrown
