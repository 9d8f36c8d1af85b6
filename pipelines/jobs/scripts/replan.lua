-- What the units made can't be joined: another plan takes the old one's place, and its join waits for its units.
-- 1 if the fence still holds, or if the plan is in its place already. ARGV: id, unit, fence, plan.
local id, name, fence, plan = unpack(ARGV)
local units, manifests = P .. ':units:' .. id, P .. ':manifests:' .. id
local status = unit(id, name)
if status.state ~= 'running' or text(status.fence) ~= fence then
  return redis.call('HGET', manifests, 'plan') == plan and 1 or 0
end
if redis.call('HGET', job(id), 'want') == 'cancel' then return 0 end
-- What isn't in the new plan is forgotten; a unit that is in both stays as it is, done.
local planned = { plan = true, [name] = true }
for _, each in ipairs(cjson.decode(plan).units) do planned[each.name] = true end
for _, each in ipairs(redis.call('HKEYS', units)) do
  if not planned[each] then
    redis.call('HDEL', units, each)
    redis.call('HDEL', manifests, each)
  end
end
redis.call('HSET', manifests, 'plan', plan)
save(id, name, { state = 'waiting', fence = redis.call('INCR', P .. ':fence'), attempts = 0, lost = 0 })
redis.call('ZREM', P .. ':leases', lease_name(id, name))
log(id, 'unit', redis.call('HGET', job(id), 'state'), 'plan')
return 1
