-- Keep a unit: 1 while the fence is the newest. Who keeps it has begun. ARGV: id, unit, fence, lease in ms.
local id, name, fence, lease_ms = unpack(ARGV)
local status = unit(id, name)
if status.state ~= 'running' or text(status.fence) ~= fence then return 0 end
if not status.began then
  status.began = true
  save(id, name, status)
end
redis.call('ZADD', P .. ':leases', now() + lease_ms, lease_name(id, name))
return 1
