-- Forget a finished job. ARGV: id.
local id = ARGV[1]
local state, record = unpack(redis.call('HMGET', job(id), 'state', 'record'))
if not state then return 'missing' end
if not TERMINAL[state] then return 'active' end
local operation = cjson.decode(record).operation
redis.call('DEL', job(id), P .. ':units:' .. id, P .. ':manifests:' .. id)
redis.call('ZREM', P .. ':jobs', id)
redis.call('ZREM', P .. ':jobs:operation:' .. operation, id)
redis.call('ZREM', P .. ':jobs:state:' .. state, id)
redis.call('ZREM', P .. ':finished', id)
log(id, 'deleted', state, '')
return 'deleted'
