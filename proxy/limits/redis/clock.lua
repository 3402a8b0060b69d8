-- Redis's own clock, in microseconds: no gate's clock takes part in a decision.
local function now_of()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
