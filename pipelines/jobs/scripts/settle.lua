-- What came of an attempt at a delivery. ARGV: its id, how many attempts there were, its state from now on, the answer,
-- in how many ms it is tried again if it's pending, and what becomes of its endpoint: disable, enable or ''.
local id, attempts, to, answer, again_in_ms, becomes = unpack(ARGV)
local key = P .. ':webhook:delivery:' .. id
local state, endpoint = unpack(redis.call('HMGET', key, 'state', 'endpoint'))
if state ~= 'pending' then return 0 end
local due, at = P .. ':webhook:due:' .. endpoint, now()
redis.call('HSET', key, 'state', to, 'attempts', attempts, 'answer', answer, 'tried_at', text(at))
if to == 'pending' then
  redis.call('ZADD', due, at + tonumber(again_in_ms), id)
else
  redis.call('ZREM', due, id)
  redis.call('ZREM', P .. ':webhook:pending', id)
  redis.call('ZADD', P .. ':webhook:' .. to, 0, id)
end
if becomes == 'disable' then redis.call('HSET', P .. ':webhook:disabled', endpoint, text(at)) end
if becomes == 'enable' then redis.call('HDEL', P .. ':webhook:disabled', endpoint) end
return 1
