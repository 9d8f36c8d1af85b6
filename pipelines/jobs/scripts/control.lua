-- Say what is wanted of a job (run, pause, cancel) or its priority. The dispatcher acts on it.
local id, field, value = unpack(ARGV)
local state = redis.call('HGET', job(id), 'state')
if not state then return { 'missing' } end
if TERMINAL[state] then return { 'terminal', state } end
local want = redis.call('HGET', job(id), 'want')
if field == 'want' and want == 'cancel' and value ~= 'cancel' then return { 'terminal', 'cancelled' } end
if redis.call('HGET', job(id), field) ~= value then
  redis.call('HSET', job(id), field, value)
  log(id, field, state, value)
end
return { 'accepted', state }
