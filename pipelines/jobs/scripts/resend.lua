-- Have a delivery tried again, now: 0 where there is none such. ARGV: its id.
local id = ARGV[1]
local key = P .. ':webhook:delivery:' .. id
local state, endpoint = unpack(redis.call('HMGET', key, 'state', 'endpoint'))
if not state then return 0 end
redis.call('ZREM', P .. ':webhook:' .. state, id)
redis.call('HSET', key, 'state', 'pending', 'attempts', '0', 'by_hand', '1')
redis.call('ZADD', P .. ':webhook:pending', 0, id)
redis.call('ZADD', P .. ':webhook:due:' .. endpoint, now(), id)
redis.call('SADD', P .. ':webhook:endpoints', endpoint)
return 1
