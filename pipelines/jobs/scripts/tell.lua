-- Owe a message. ARGV: its id, its type, its data, endpoints; the alert that it is of, or '', and 1 if that fires now.
-- 0 where the alert is known to do so already: nothing is owed then.
local message, kind, data, endpoints, alert, firing = unpack(ARGV)
if alert ~= '' then
  local fires = redis.call('HEXISTS', P .. ':webhook:alerts', alert)
  if text(fires) == firing then return 0 end
  if firing == '1' then
    redis.call('HSET', P .. ':webhook:alerts', alert, data)
  else
    redis.call('HDEL', P .. ':webhook:alerts', alert)
  end
end
owe(message, kind, data, endpoints, now())
return 1
