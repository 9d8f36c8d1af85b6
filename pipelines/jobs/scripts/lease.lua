-- Give a unit away: its new fence, or why not. ARGV: epoch, id, unit, lease in ms, the job's state while it runs.
local epoch, id, name, lease_ms, to = unpack(ARGV)
if not leads(epoch) then return { 'stale' } end
local state, want = unpack(redis.call('HMGET', job(id), 'state', 'want'))
if not state or TERMINAL[state] or state == 'paused' or want ~= 'run' then return { 'refused' } end
local status = unit(id, name)
if status.state == 'done' then return { 'refused' } end
status.state = 'running'
status.fence = redis.call('INCR', P .. ':fence')
save(id, name, status)
redis.call('ZADD', P .. ':leases', now() + lease_ms, lease_name(id, name))
if state ~= to then
  redis.call('HSET', job(id), 'state', to)
  redis.call('HSETNX', job(id), 'started_at', text(now()))
  index(id, state, to)
  log(id, 'state', to, '')
end
return { 'leased', status.fence }
