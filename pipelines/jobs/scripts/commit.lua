-- A unit is done: 1 if the fence still holds, and from then on for good. ARGV: id, unit, fence, manifest.
local id, name, fence, manifest = unpack(ARGV)
local status = unit(id, name)
if text(status.fence) ~= fence then return 0 end
if status.state == 'done' then return 1 end
if status.state ~= 'running' then return 0 end
-- What is published is published: only before that a cancel comes in time.
if name ~= 'publish' and redis.call('HGET', job(id), 'want') == 'cancel' then return 0 end
status.state = 'done'
save(id, name, status)
redis.call('HSET', P .. ':manifests:' .. id, name, manifest)
if name == 'plan' then redis.call('HSET', job(id), 'plan', manifest) end
redis.call('ZREM', P .. ':leases', lease_name(id, name))
log(id, 'unit', redis.call('HGET', job(id), 'state'), name)
return 1
