-- Set a record aside that can't be loaded, so that it can't stop the others. ARGV: epoch, id, reason.
local epoch, id, reason = unpack(ARGV)
if not leads(epoch) then return 'stale' end
redis.call('SREM', P .. ':active', id)
redis.call('HSET', P .. ':quarantine', id, reason)
-- Its record may not tell its targets, so look through all.
local targets = redis.call('HGETALL', P .. ':targets')
for i = 1, #targets, 2 do
  if targets[i + 1] == id then redis.call('HDEL', P .. ':targets', targets[i]) end
end
for _, name in ipairs(redis.call('HKEYS', P .. ':units:' .. id)) do
  redis.call('ZREM', P .. ':leases', lease_name(id, name))
end
log(id, 'quarantined', 'failed', reason)
return 'moved'
