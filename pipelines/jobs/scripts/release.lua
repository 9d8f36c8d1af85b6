-- Take a unit back: its work failed, its place was lost, or it was dropped. ARGV: epoch, id, unit, fence, why.
-- The fence moves on, so whoever still works on it can't commit. Returns the unit, or nil for a stale leader.
local epoch, id, name, fence, why = unpack(ARGV)
if not leads(epoch) then return false end
local status = unit(id, name)
if status.state == 'running' and text(status.fence) == fence then
  if why == 'failed' then status.attempts = status.attempts + 1 end
  if why == 'lost' then status.lost = status.lost + 1 end
  status.state = 'waiting'
  status.fence = redis.call('INCR', P .. ':fence')
  save(id, name, status)
  redis.call('ZREM', P .. ':leases', lease_name(id, name))
  log(id, why, redis.call('HGET', job(id), 'state') or '', name)
end
return cjson.encode(status)
