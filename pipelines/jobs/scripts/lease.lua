-- Give a unit away: its new fence, or why not. What has begun to be published is published to its end. ARGV: epoch, id, unit, lease in ms, the job's state while it runs.
local epoch, id, name, lease_ms, to = unpack(ARGV)
if not leads(epoch) then return { 'stale' } end
local state, want = unpack(redis.call('HMGET', job(id), 'state', 'want'))
local status = unit(id, name)
local begun = name == 'publish' and status.fence > 0
if not state or TERMINAL[state] or state == 'paused' or (want ~= 'run' and not begun) then return { 'refused' } end
if status.state == 'done' then return { 'refused' } end
return { 'leased', take(id, name, lease_ms, to) }
