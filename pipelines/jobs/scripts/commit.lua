-- A unit is done: 1 if the fence still holds, and from then on for good. ARGV: id, unit, fence, manifest, 1 where the
-- job's result is from the cache; and, where the worker is to go on with it, the unit that follows, its lease in ms and
-- the job's state while it runs. Second in the answer: that unit's fence, or 0.
local id, name, fence, manifest, cached, following, lease_ms, to = unpack(ARGV)
local status = unit(id, name)
if text(status.fence) ~= fence then return { 0, 0 } end
if status.state == 'done' then return { 1, 0 } end
if status.state ~= 'running' then return { 0, 0 } end
local want = redis.call('HGET', job(id), 'want')
-- What is published is published: only before that a cancel comes in time.
if name ~= 'publish' and want == 'cancel' then return { 0, 0 } end
status.state = 'done'
save(id, name, status)
redis.call('HSET', P .. ':manifests:' .. id, name, manifest)
redis.call('ZREM', P .. ':leases', lease_name(id, name))
if cached == '1' then redis.call('HSET', job(id), 'cached', 'true') end
log(id, 'unit', redis.call('HGET', job(id), 'state'), name)
if not following or want ~= 'run' or unit(id, following).state ~= 'waiting' then return { 1, 0 } end
return { 1, take(id, following, lease_ms, to) }
