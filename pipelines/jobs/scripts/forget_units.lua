-- Forget units that a driver needs no more, but none that runs. ARGV: epoch, id, names.
local epoch, id, names = unpack(ARGV)
if not leads(epoch) then return 'stale' end
for _, each in ipairs(cjson.decode(names)) do
  if unit(id, each).state ~= 'running' then
    redis.call('HDEL', P .. ':units:' .. id, each)
    redis.call('HDEL', P .. ':manifests:' .. id, each)
  end
end
return 'forgotten'
