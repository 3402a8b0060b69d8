-- The same arithmetic as limits/bucket.py, on whole numbers below 2^53.
local UNITS = 60000000
local MOST_USED = 9000000000000000

local function run_off(used, since, now, per_minute)
  local gone = math.max(0, now - since) * per_minute
  if gone < used then return used - gone end
  return 0
end

local function charged(used, amount)
  return math.max(0, math.min(MOST_USED, used + amount * UNITS))
end

local function fits(used, amount, burst)
  return used + amount * UNITS <= burst * UNITS
end

-- Lua would write large numbers with an exponent, and lose their end.
local function whole(number)
  return string.format('%.0f', number)
end
