-- What some finished units made is of no use: they wait anew. The join that found it goes on holding its own lease.
-- 1 if the fence still holds. ARGV: id, unit, fence, names.
local id, name, fence, names = unpack(ARGV)
local holder = unit(id, name)
if holder.state ~= 'running' or text(holder.fence) ~= fence then return 0 end
for _, each in ipairs(cjson.decode(names)) do
  local status = unit(id, each)
  status.state = 'waiting'
  status.fence = redis.call('INCR', P .. ':fence')
  save(id, each, status)
  redis.call('HDEL', P .. ':manifests:' .. id, each)
end
log(id, 'unit', redis.call('HGET', job(id), 'state'), 'plan')
return 1
