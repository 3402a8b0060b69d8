-- End a lease, once. KEYS: a hash and a sorted set for each account. ARGV: id, tokens, milliseconds of the GPU, and
-- 1 where the call is withdrawn: its request goes back too; then each account's tokens per minute.
local id, tokens, gpu, withdrawn = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local now, done = now_of(), 0
for place = 1, #KEYS / 2 do
  local key, leases, rate = KEYS[2 * place - 1], KEYS[2 * place], tonumber(ARGV[place + 4])
  local lease = redis.call('HGET', key, 'l:' .. id)
  if lease then
    local account = read(key, leases)
    if rate ~= NONE then account.t, account.ta = run_off(account.t, account.ta, now, rate), now end
    settled(account, lease, tokens, gpu)
    if withdrawn then account.r = charged(account.r, -1) end
    redis.call('HDEL', key, 'l:' .. id)
    redis.call('HSET', key, 'r', whole(account.r), 't', whole(account.t), 'ta', whole(account.ta),
      'd', whole(account.d), 'm', whole(account.m), 'g', whole(account.g))
    done = done + 1
  end
  redis.call('ZREM', leases, id)
end
return 'settled ' .. whole(now) .. ' ' .. done
