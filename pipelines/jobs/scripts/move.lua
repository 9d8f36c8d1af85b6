-- Move a job to another state, with what is known then. ARGV: epoch, id, to, allowed from (space separated), fields;
-- of a job that has many, its artifacts by name; and what its end owes to webhooks: message, type, data, endpoints.
local epoch, id, to, allowed, fields, artifacts, message, kind, data, endpoints = unpack(ARGV)
if not leads(epoch) then return 'stale' end
local from = redis.call('HGET', job(id), 'state')
if not from then return 'missing' end
if from ~= to and not string.find(' ' .. allowed .. ' ', ' ' .. from .. ' ', 1, true) then return 'refused' end
for name, value in pairs(cjson.decode(fields)) do redis.call('HSET', job(id), name, value) end
for name, value in pairs(cjson.decode(artifacts)) do
  redis.call('HSET', P .. ':artifacts:' .. id, name, value)
  redis.call('ZADD', P .. ':artifact-names:' .. id, 0, name)
end
if from == to then return 'moved' end
local at = now()
local record = cjson.decode(redis.call('HGET', job(id), 'record'))
redis.call('HSET', job(id), 'state', to)
index(id, from, to)
if to ~= 'queued' and to ~= 'paused' then redis.call('HSETNX', job(id), 'started_at', text(at)) end
if TERMINAL[to] then
  redis.call('HSET', job(id), 'finished_at', text(at))
  redis.call('SREM', P .. ':active', id)
  redis.call('ZADD', P .. ':finished', at, id)
  redis.call('HINCRBY', P .. ':counts', to .. ' ' .. record.operation, 1)
  for _, target in ipairs(record.targets) do
    if redis.call('HGET', P .. ':targets', target) == id then redis.call('HDEL', P .. ':targets', target) end
  end
  for _, name in ipairs(redis.call('HKEYS', P .. ':units:' .. id)) do
    redis.call('ZREM', P .. ':leases', lease_name(id, name))
  end
  redis.call('DEL', P .. ':units:' .. id, P .. ':manifests:' .. id)
  if message then owe(message, kind, data, endpoints, at) end
end
log(id, 'state', to, redis.call('HGET', job(id), 'error') or '')
return 'moved'
