-- Accept a job: all of it or nothing. Asking again with the same id or the same idempotency key changes nothing.
local id, record, operation, priority, idempotency, fingerprint, ttl_ms, targets = unpack(ARGV)
if redis.call('EXISTS', job(id)) == 1 then return { 'accepted', id } end
if idempotency ~= '' then
  local known = redis.call('GET', P .. ':idempotency:' .. idempotency)
  if known then
    local split = string.find(known, ' ', 1, true)
    local before = string.sub(known, 1, split - 1)
    -- A key whose job was deleted is free again.
    if redis.call('EXISTS', job(before)) == 1 then
      return { string.sub(known, split + 1) == fingerprint and 'known' or 'mismatch', before }
    end
  end
end
local wanted = cjson.decode(targets)
for _, target in ipairs(wanted) do
  local holder = redis.call('HGET', P .. ':targets', target)
  if holder then return { 'target_taken', holder, target } end
end
for _, target in ipairs(wanted) do redis.call('HSET', P .. ':targets', target, id) end
redis.call('HSET', job(id), 'record', record, 'state', 'queued', 'want', 'run', 'priority', priority)
redis.call('SADD', P .. ':active', id)
redis.call('ZADD', P .. ':jobs', 0, id)
redis.call('ZADD', P .. ':jobs:operation:' .. operation, 0, id)
index(id, nil, 'queued')
redis.call('HINCRBY', P .. ':counts', 'submitted ' .. operation, 1)
if idempotency ~= '' then
  redis.call('HSET', job(id), 'idempotency', idempotency)
  redis.call('SET', P .. ':idempotency:' .. idempotency, id .. ' ' .. fingerprint, 'PX', ttl_ms)
end
log(id, 'state', 'queued', '')
return { 'accepted', id }
