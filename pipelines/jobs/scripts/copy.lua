-- Jobs as they are at one moment. ARGV: an id of the log, how many jobs at most, their ids.
-- With an id of the log also those that it tells of since; nothing where they are too many.
-- Answers: the time; the log's end and its beginning; counters; what was counted; and of each job what is in the store.
local after, most = ARGV[1], tonumber(ARGV[2])
local ids, known = {}, {}
local function add(id)
  if not known[id] then
    known[id] = true
    ids[#ids + 1] = id
  end
end
for i = 3, #ARGV do add(ARGV[i]) end
if after ~= '' then
  local entries = redis.call('XRANGE', P .. ':log', '(' .. after, '+', 'COUNT', 16 * most)
  if #entries == 16 * most then return false end
  for _, entry in ipairs(entries) do
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'job' then add(entry[2][i + 1]) end
    end
  end
  if #ids > most then return false end
end
local jobs = {}
for _, id in ipairs(ids) do
  local key, kept, left_ms = redis.call('HGET', job(id), 'idempotency'), false, 0
  if key then
    kept, left_ms = redis.call('GET', P .. ':idempotency:' .. key), redis.call('PTTL', P .. ':idempotency:' .. key)
  end
  local aside = redis.call('HGET', P .. ':quarantine', id)
  jobs[#jobs + 1] = { id, redis.call('HGETALL', job(id)), redis.call('SISMEMBER', P .. ':active', id), aside, kept, left_ms }
end
local first = redis.call('XRANGE', P .. ':log', '-', '+', 'COUNT', 1)
local last = redis.call('XREVRANGE', P .. ':log', '+', '-', 'COUNT', 1)
local function number(name) return redis.call('GET', P .. ':' .. name) or '0' end
return {
  text(now()),
  { last[1] and last[1][1] or '0-0', first[1] and first[1][1] or '0-0' },
  { redis.call('ZCARD', P .. ':jobs'), number('leader'), number('fence'), number('registry') },
  redis.call('HGETALL', P .. ':counts'),
  jobs,
}
