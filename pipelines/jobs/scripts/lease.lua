-- Give a unit away: its new fence, or why not. ARGV: epoch, id, unit, lease in ms, the job's state while it runs.
local epoch, id, name, lease_ms, to = unpack(ARGV)
if not leads(epoch) then return { 'stale' } end
local state, want = unpack(redis.call('HMGET', job(id), 'state', 'want'))
if not state or TERMINAL[state] or state == 'paused' or want ~= 'run' then return { 'refused' } end
if unit(id, name).state == 'done' then return { 'refused' } end
return { 'leased', take(id, name, lease_ms, to) }
