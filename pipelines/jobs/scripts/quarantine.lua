-- Set a record aside that can't be loaded, so that it can't stop the others. ARGV: epoch, id, reason.
local epoch, id, reason = unpack(ARGV)
if not leads(epoch) then return 'stale' end
redis.call('SREM', P .. ':active', id)
redis.call('HSET', P .. ':quarantine', id, reason)
log(id, 'quarantined', 'failed', reason)
return 'moved'
