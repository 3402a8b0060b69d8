-- Set aside on every account or on none. KEYS: a hash and a sorted set for each account.
-- ARGV[1]: id, most tokens, least tokens, until when somebody waits for the answer, length of a lease; then each
-- account's terms. Answers 'admitted', 'refused', or 'late' or 'another-day' where nothing was looked at; then the
-- time, and each account's state before.
local id, most, least, waits_until, lease_us = string.match(ARGV[1], '^(%S+) (%d+) (%d+) (%d+) (%d+)$')
most, least, waits_until, lease_us = tonumber(most), tonumber(least), tonumber(waits_until), tonumber(lease_us)
local now = now_of()
if now > waits_until then return 'late ' .. whole(now) end

local accounts, all_terms, answer, admitted = {}, {}, {}, true
for place = 1, #KEYS / 2 do
  local terms = terms_of(ARGV[place + 1])
  if not same_day(terms, now) then return 'another-day ' .. whole(now) end
  local account = read(KEYS[2 * place - 1], KEYS[2 * place])
  pass_time(account, terms, now)
  account.fits = (terms.rate == NONE or fits(account.r, 1, terms.burst))
    and (terms.token_rate == NONE or fits(account.t, most, terms.token_burst))
    and (terms.concurrent == NONE or account.live < terms.concurrent)
    and (terms.day == NONE or account.d + most <= terms.day)
    and (terms.month == NONE or account.m + most <= terms.month)
    and (terms.gpu == NONE or account.g + 1 <= terms.gpu)
  admitted = admitted and (account.fits or terms.shadow)
  accounts[place], all_terms[place], answer[place] = account, terms, state_of(account)
end

for place, account in ipairs(accounts) do
  local terms = all_terms[place]
  if admitted and account.fits then
    if terms.rate ~= NONE then account.r = charged(account.r, 1) end
    if terms.token_rate ~= NONE then account.t = charged(account.t, most) end
    if terms.day ~= NONE then account.d = account.d + most end
    if terms.month ~= NONE then account.m = account.m + most end
    redis.call('HSET', account.key, 'l:' .. id, whole(most) .. ' ' .. whole(least)
      .. ' ' .. (terms.token_rate ~= NONE and 1 or 0) .. ' ' .. whole(terms.day ~= NONE and account.de or NONE)
      .. ' ' .. whole(terms.month ~= NONE and account.me or NONE) .. ' ' .. whole(terms.gpu ~= NONE and account.ge or NONE))
    redis.call('ZADD', account.leases, whole(now + lease_us), id)
    redis.call('PEXPIREAT', account.leases, whole(math.ceil((now + lease_us + MARGIN) / 1000)))
  end
  -- A refusal leaves everything as it was: what runs off does so by the time alone.
  if admitted or account.set_back or #account.ended > 0 then write(account, terms, now, lease_us) end
end
return (admitted and 'admitted ' or 'refused ') .. whole(now) .. ' ' .. table.concat(answer, ' ')
