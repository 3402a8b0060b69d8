-- Nothing is used any more, but by the calls under way: what they have set aside stays, else they would give back what
-- others took meanwhile. KEYS: a hash and a sorted set for each account.
for place = 1, #KEYS / 2 do
  local account, tokens, day, month = read(KEYS[2 * place - 1], KEYS[2 * place]), 0, 0, 0
  for _, id in ipairs(redis.call('ZRANGE', account.leases, 0, -1)) do
    local most, took_tokens, day_end, month_end = terms_of_lease(redis.call('HGET', account.key, 'l:' .. id))
    if took_tokens == '1' then tokens = tokens + most end
    if day_end == account.de then day = day + most end
    if month_end == account.me then month = month + most end
  end
  if redis.call('EXISTS', account.key) == 1 then
    redis.call('HSET', account.key, 'r', 0, 't', whole(math.min(account.t, tokens * UNITS)), 'd',
      whole(math.min(account.d, day)), 'm', whole(math.min(account.m, month)), 'g', 0)
  end
end
return 'reset ' .. whole(now_of())
