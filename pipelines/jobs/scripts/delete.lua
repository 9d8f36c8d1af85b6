-- Forget a job that has finished, or that was set aside. ARGV: id.
local id = ARGV[1]
local state, record = unpack(redis.call('HMGET', job(id), 'state', 'record'))
local aside = redis.call('HDEL', P .. ':quarantine', id) == 1
if not state and not aside then return 'missing' end
if not TERMINAL[state] and not aside then return 'active' end
redis.call('DEL', job(id), P .. ':units:' .. id, P .. ':manifests:' .. id)
redis.call('DEL', P .. ':artifacts:' .. id, P .. ':artifact-names:' .. id)
redis.call('ZREM', P .. ':jobs', id)
local readable, told = pcall(cjson.decode, record)
if readable and type(told) == 'table' and told.operation then
  redis.call('ZREM', P .. ':jobs:operation:' .. told.operation, id)
end
state = state or 'failed'
redis.call('ZREM', P .. ':jobs:state:' .. state, id)
redis.call('ZREM', P .. ':finished', id)
log(id, 'deleted', state, '')
return 'deleted'
