-- Shared by every script. KEYS[1] is the store's prefix; its hash tag keeps all keys in one slot.
local P = KEYS[1]
local TERMINAL = { succeeded = true, failed = true, cancelled = true }

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function text(number) return string.format('%.0f', number) end

local function job(id) return P .. ':job:' .. id end

local function log(id, kind, state, body)
  redis.call('XADD', P .. ':log', 'MAXLEN', '~', '200000', '*',
    'job', id, 'type', kind, 'state', state, 'at', text(now()), 'body', body)
end

-- A dispatcher that isn't the leader any more must change nothing.
local function leads(epoch) return redis.call('GET', P .. ':leader') == epoch end

local function unit(id, name)
  local found = redis.call('HGET', P .. ':units:' .. id, name)
  if found then return cjson.decode(found) end
  return { state = 'waiting', fence = 0, attempts = 0, lost = 0 }
end

local function save(id, name, value)
  redis.call('HSET', P .. ':units:' .. id, name, cjson.encode(value))
end

local function lease_name(id, name) return id .. '/' .. name end

local function index(id, old, new)
  if old then redis.call('ZREM', P .. ':jobs:state:' .. old, id) end
  redis.call('ZADD', P .. ':jobs:state:' .. new, 0, id)
end

-- Give a unit away while its job is in state ``to``: the unit's new fence.
local function take(id, name, lease_ms, to)
  local status, state = unit(id, name), redis.call('HGET', job(id), 'state')
  status.state = 'running'
  status.began = false
  status.fence = redis.call('INCR', P .. ':fence')
  save(id, name, status)
  redis.call('ZADD', P .. ':leases', now() + lease_ms, lease_name(id, name))
  if state ~= to then
    redis.call('HSET', job(id), 'state', to)
    redis.call('HSETNX', job(id), 'started_at', text(now()))
    index(id, state, to)
    log(id, 'state', to, '')
  end
  return status.fence
end

-- Owe a message to endpoints (name → the URL of one that a job names): each is a delivery, which is tried until it is
-- taken. See pipelines/jobs/outbox.py.
local function owe(message, kind, data, endpoints, at)
  for endpoint, url in pairs(cjson.decode(endpoints)) do
    local id = message .. ':' .. endpoint
    local key = P .. ':webhook:delivery:' .. id
    if redis.call('EXISTS', key) == 0 then
      redis.call('HSET', key, 'message', message, 'type', kind, 'data', data, 'at', text(at),
        'endpoint', endpoint, 'url', url, 'state', 'pending', 'attempts', '0')
      redis.call('ZADD', P .. ':webhook:pending', 0, id)
      redis.call('ZADD', P .. ':webhook:due:' .. endpoint, at, id)
      redis.call('SADD', P .. ':webhook:endpoints', endpoint)
    end
  end
end
