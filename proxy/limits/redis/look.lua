-- How things stand. KEYS: a hash and a sorted set for each account. ARGV: each account's terms. Writes nothing.
local now, answer = now_of(), {}
for place = 1, #KEYS / 2 do
  local terms = terms_of(ARGV[place])
  if not same_day(terms, now) then return 'another-day ' .. whole(now) end
  local account = read(KEYS[2 * place - 1], KEYS[2 * place])
  pass_time(account, terms, now)
  answer[place] = state_of(account)
end
return 'seen ' .. whole(now) .. ' ' .. table.concat(answer, ' ')
