-- What is kept of one account: a hash of what is used, and the leases of the calls under way by the end of each.
-- A lease's own field in the hash, 'l:<id>', says what the call has been charged.
local NONE = -1
local FIELDS = {'r', 'ra', 't', 'ta', 'd', 'de', 'm', 'me', 'g', 'ge'}
local ASTRAY = 2 * 86400000000 -- Microseconds by which the ends of one window cannot differ between two zones.
local MARGIN = 3600000000 -- Microseconds that a key outlives its use, for limits that change meanwhile.

-- The limits as the gate says them, NONE for what has none.
local function terms_of(text)
  local said = {}
  for word in string.gmatch(text, '%S+') do said[#said + 1] = tonumber(word) end
  return {
    rate = said[1], burst = said[2], token_rate = said[3], token_burst = said[4], concurrent = said[5],
    day = said[6], month = said[7], gpu = said[8],
    day_start = said[9], day_end = said[10], month_start = said[11], month_end = said[12], shadow = said[13] == 1,
  }
end

-- Whether the gate and this clock agree on what day it is.
local function same_day(terms, now)
  if terms.day == NONE and terms.month == NONE and terms.gpu == NONE then return true end
  return terms.day_start <= now and now < terms.day_end and terms.month_start <= now and now < terms.month_end
end

-- Another window begins when the one before has ended, whatever zone that was of: no window comes twice. One that
-- lasts for longer than zones can differ was begun while the clock was astray.
local function window(account, used, ends, limit, now, next_end)
  if limit ~= NONE and (now >= account[ends] or account[ends] > next_end + ASTRAY) then
    account[used], account[ends] = 0, next_end
  end
end

-- What a lease was charged: tokens, whether the bucket took them, and the ends of the windows that did.
local function terms_of_lease(lease)
  if not lease then return 0, '0', NONE, NONE, NONE end -- It had ended, and was begun again: it only holds a place.
  local most, took_tokens, day_end, month_end, gpu_end =
    string.match(lease, '^(%d+) %d+ (%d) (%-?%d+) (%-?%d+) (%-?%d+)$')
  return tonumber(most), took_tokens, tonumber(day_end), tonumber(month_end), tonumber(gpu_end)
end

-- End a lease, and charge the truth in place of what it was charged.
local function settled(account, lease, tokens, gpu)
  local most, took_tokens, day_end, month_end, gpu_end = terms_of_lease(lease)
  local more = tokens - most
  if took_tokens == '1' then account.t = charged(account.t, more) end
  if day_end == account.de then account.d = math.max(0, account.d + more) end
  if month_end == account.me then account.m = math.max(0, account.m + more) end
  if gpu_end == account.ge then account.g = math.max(0, account.g + gpu) end
end

local function read(key, leases)
  local account = {key = key, leases = leases}
  local kept = redis.call('HMGET', key, unpack(FIELDS))
  for place, name in ipairs(FIELDS) do account[name] = tonumber(kept[place] or 0) end
  return account
end

-- Let run off what has by now, begin the windows that have begun, and end the leases that nobody has renewed.
local function pass_time(account, terms, now)
  account.set_back = account.ra > now or account.ta > now
  if terms.rate ~= NONE then
    account.r, account.ra = run_off(account.r, account.ra, now, terms.rate), now
  end
  if terms.token_rate ~= NONE then
    account.t, account.ta = run_off(account.t, account.ta, now, terms.token_rate), now
  end
  window(account, 'd', 'de', terms.day, now, terms.day_end)
  window(account, 'm', 'me', terms.month, now, terms.month_end)
  window(account, 'g', 'ge', terms.gpu, now, terms.day_end)
  account.ended = redis.call('ZRANGEBYSCORE', account.leases, '-inf', whole(now))
  account.live = redis.call('ZCARD', account.leases) - #account.ended
  for _, id in ipairs(account.ended) do
    local lease = redis.call('HGET', account.key, 'l:' .. id)
    if lease then settled(account, lease, tonumber(string.match(lease, '^%d+ (%d+)')), 0) end
  end
end

local function state_of(account)
  return whole(account.r) .. ' ' .. whole(account.t) .. ' ' .. whole(account.live) .. ' ' .. whole(account.d) .. ' '
    .. whole(account.m) .. ' ' .. whole(account.g)
end

local function until_empty(used, rate)
  if rate == NONE then return 0 end
  return math.ceil(used / rate)
end

local function write(account, terms, now, lease_us)
  local said = {}
  for _, name in ipairs(FIELDS) do
    said[#said + 1] = name
    said[#said + 1] = whole(account[name])
  end
  redis.call('HSET', account.key, unpack(said))
  for _, id in ipairs(account.ended) do
    redis.call('HDEL', account.key, 'l:' .. id)
    redis.call('ZREM', account.leases, id)
  end
  local free = now + math.max(until_empty(account.r, terms.rate), until_empty(account.t, terms.token_rate), lease_us)
  if terms.day ~= NONE then free = math.max(free, account.de) end
  if terms.month ~= NONE then free = math.max(free, account.me) end
  if terms.gpu ~= NONE then free = math.max(free, account.ge) end
  redis.call('PEXPIREAT', account.key, whole(math.ceil((free + MARGIN) / 1000)))
end
